import Testing

@testable import ObjectStorage

@Suite struct XMLTests {
    static let listing = """
        <?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix>
        <!-- a > comment --><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b==</NextContinuationToken>
        <Contents><Key>p/t/year=2024/t+0+2.json</Key><Size>7</Size><Owner/></Contents>
        <Contents><Key>p/a&lt;&#233;&#xe9;<![CDATA[&<]]></Key><Size>0</Size></Contents>
        <CommonPrefixes><Prefix>p/z/</Prefix></CommonPrefixes></ListBucketResult>
        """

    @Test func listing() throws {
        let document = try S3ListDocument(Array(XMLTests.listing.utf8), removing: "p/")
        #expect(
            document.objects == [
                ListedObject(key: "a<éé&<", size: 0), ListedObject(key: "t/year=2024/t+0+2.json", size: 7),
            ])
        #expect(document.commonPrefixes == ["z/"])
        #expect(document.continuationToken == "a&b==")
        #expect(throws: XMLError.self) { try S3ListDocument(Array(XMLTests.listing.utf8), removing: "q/") }
    }

    @Test func encodedListing() throws {
        let text =
            "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2Bb+%C3%A9</Key><Size>1</Size></Contents></ListBucketResult>"
        #expect(try S3ListDocument(Array(text.utf8), removing: "").objects == [ListedObject(key: "a+b é", size: 1)])
    }

    /// A cut answer must never look like a shorter listing.
    @Test func everyCutIsSeen() {
        let bytes = Array(XMLTests.listing.utf8)
        for end in 0..<bytes.count {
            #expect(throws: XMLError.self) { try S3ListDocument(Array(bytes[..<end]), removing: "p/") }
        }
    }

    @Test func everyChangedByteIsSurvived() {
        let bytes = Array(XMLTests.listing.utf8)
        for index in bytes.indices {
            for byte: UInt8 in [0, 0x20, 0x26, 0x2F, 0x3B, 0x3C, 0x3E, 0xFF] {
                var changed = bytes
                changed[index] = byte
                _ = try? S3ListDocument(changed, removing: "p/")
            }
        }
    }

    @Test(arguments: [
        "", " ", "text", "<", "<a", "<a>", "</a>", "<a></b>", "<a></a><b/>", "<a/>x", "<a>&</a>", "<a>&nbsp;</a>",
        "<a>&#xD800;</a>", "<a>&#x110000;</a>", "<a>&#-1;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#99999999999999;</a>",
        "<>",
        "< a/>", "</>", "<!DOCTYPE a><a/>", "<a><![CDATA[</a>", "<!--", "<?", "<a><b></a></b>",
        String(repeating: "<a>", count: 100_000),
    ])
    func malformed(_ text: String) {
        #expect(throws: XMLError.self) { try XMLReader.read(Array(text.utf8)) }
    }

    @Test func truncatedWithoutToken() {
        let text = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
        #expect(throws: XMLError.self) { try S3ListDocument(Array(text.utf8), removing: "") }
    }

    @Test func errorDocument() {
        let text = "<Error><Code>SlowDown</Code><Message>Reduce\nyour rate</Message><Region>eu-west-1</Region></Error>"
        let document = S3ErrorDocument(Array(text.utf8))
        #expect(
            document?.code == "SlowDown" && document?.message == "Reduce your rate" && document?.region == "eu-west-1")
        #expect(S3ErrorDocument(Array("<html><body>Bad gateway</body></html>".utf8)) == nil)
    }
}
