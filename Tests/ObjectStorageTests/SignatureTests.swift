import Dates
import Testing

@testable import ObjectStorage

/// AWS's published examples: "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk".
@Suite struct SignatureTests {
    let signer = SignatureV4(
        accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1")
    /// 2013-05-24T00:00:00Z
    let time = SigningTime(unixSeconds: 1_369_353_600)
    static let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    func request(_ method: String, _ path: String, _ extra: [HeaderField], hash: String = empty) -> SignableRequest {
        SignableRequest(
            method: method, path: path,
            headers: extra + [
                HeaderField(name: "host", value: "examplebucket.s3.amazonaws.com"),
                HeaderField(name: "x-amz-content-sha256", value: hash),
                HeaderField(name: "x-amz-date", value: time.stamp),
            ], payloadHash: hash)
    }

    func signature(_ request: SignableRequest) throws -> String {
        String(try signer.authorization(request, at: time).split(separator: "Signature=").last ?? "")
    }

    @Test func getObject() throws {
        let example = request("GET", "/test.txt", [HeaderField(name: "range", value: "bytes=0-9")])
        #expect(try signature(example) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    }

    @Test func putObject() throws {
        let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
        let example = request(
            "PUT", "/test$file.text",
            [
                HeaderField(name: "date", value: "Fri, 24 May 2013 00:00:00 GMT"),
                HeaderField(name: "x-amz-storage-class", value: "REDUCED_REDUNDANCY"),
            ], hash: hash)
        #expect(try signature(example) == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    }

    @Test func bucketLifecycle() throws {
        var example = request("GET", "/", [])
        example.query = [("lifecycle", "")]
        #expect(try signature(example) == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
    }

    @Test func listObjects() throws {
        var example = request("GET", "/", [])
        example.query = [("prefix", "J"), ("max-keys", "2")]
        #expect(try signature(example) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
        #expect(example.encodedQuery == "max-keys=2&prefix=J")
    }

    @Test func encodingIsStrict() {
        #expect(
            PercentEncoding.encode("a/year=2024/t+0+1 é~.json", keepsSlash: true)
                == "a/year%3D2024/t%2B0%2B1%20%C3%A9~.json")
        #expect(PercentEncoding.encode("a/b", keepsSlash: false) == "a%2Fb")
        #expect(PercentEncoding.decodeForm("a%2Bb+c%C3%A9") == "a+b cé")
        #expect(PercentEncoding.encodeLoosely("a/h=2/t+0 é%?", isQuery: false) == "a/h=2/t+0%20é%25%3F")
        #expect(PercentEncoding.encodeLoosely("a/h=2/t+0 é", isQuery: true) == "a/h%3D2/t%2B0%20é")
        for broken in ["%", "%2", "%zz", "%FF"] { #expect(PercentEncoding.decodeForm(broken) == nil) }
    }

    @Test func calendar() {
        #expect(SigningTime(unixSeconds: 0).stamp == "19700101T000000Z")
        #expect(SigningTime(unixSeconds: 951_782_399).stamp == "20000228T235959Z")
        #expect(SigningTime(unixSeconds: 951_782_400).stamp == "20000229T000000Z")
        #expect(SigningTime(unixSeconds: 4_107_542_400).stamp == "21000301T000000Z")
        for day in stride(from: -200_000, through: 200_000, by: 37) {
            let date = CivilDate(daysSince1970: day)
            #expect(CivilDate.days(year: date.year, month: date.month, day: date.day) == day)
        }
    }

    @Test func retryAfterHeader() {
        #expect(parseRetryAfter("7", now: 0) == .seconds(7))
        #expect(parseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", now: 784_111_700) == .seconds(77))
        #expect(parseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", now: 900_000_000) == .zero)
        #expect(parseRetryAfter("999999999999", now: 0) == .seconds(86_400))
        for broken in [
            "", "-1", "soon", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT", "a b c d e GMT",
        ] {
            #expect(parseRetryAfter(broken, now: 0) == nil)
        }
    }

    @Test func addresses() throws {
        let credentials = S3Credentials(accessKeyID: "a", secretAccessKey: "b")
        var settings = S3Settings(bucket: "lake", region: "eu-west-1", credentials: credentials)
        #expect(try S3Address(settings).host == "lake.s3.eu-west-1.amazonaws.com")
        #expect(try S3Address(settings).scheme == "https")
        var dotted = settings
        dotted.bucket = "my.lake"
        let inPath = try S3Address(dotted)
        #expect(inPath.host == "s3.eu-west-1.amazonaws.com" && inPath.basePath == "/my.lake")
        settings.region = "cn-north-1"
        #expect(try S3Address(settings).host == "lake.s3.cn-north-1.amazonaws.com.cn")
        settings.endpoint = "http://127.0.0.1:9000/"
        settings.pathStyle = true
        let local = try S3Address(settings)
        #expect(local.host == "127.0.0.1:9000" && local.basePath == "/lake" && local.isLoopback)
        settings.endpoint = "HTTPS://x"
        for broken in ["HTTPS://x", "x:9", "https://", "https://u@h", "https://h/p", "ftp://h", "https://h?x"] {
            settings.endpoint = broken
            #expect(throws: StorageError.self) { try S3Address(settings) }
        }
    }

    @Test func secretsAreNotPrinted() throws {
        let credentials = S3Credentials(accessKeyID: "id", secretAccessKey: "hush", sessionToken: "quiet")
        let settings = S3Settings(bucket: "b", credentials: credentials)
        var dumped = ""
        dump(settings, to: &dumped)
        for text in ["\(credentials)", "\(settings)", String(reflecting: settings), dumped] {
            #expect(!text.contains("hush") && !text.contains("quiet"))
        }
        var withFeed = settings
        withFeed.credentials?.secretAccessKey = "hush\n"
        #expect(throws: StorageError.self) { try ObjectStore(.s3(withFeed)) }
    }
}
