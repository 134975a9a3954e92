import Glibc
import Testing

@testable import ObjectStorage

@Suite struct FileStoreTests {
    let directory = TemporaryDirectory()

    func open(_ abort: AbortFlag = AbortFlag()) throws -> ObjectStore {
        try ObjectStore(.file(FileStoreSettings(root: directory.path + "/lake/deep")), abort: abort)
    }

    /// A consumer moves the files elsewhere, and removes the folder that is empty then.
    @Test func aFolderThatWasRemovedIsMadeAgain() throws {
        let store = try open()
        let folder = "t/year=2024/month=01/day=01/hour=00"
        _ = try store.put("\(folder)/t+0+0000000000.json", body: .bytes([1]))
        let path = "\(directory.path)/lake/deep/\(folder)"
        for name in ["t+0+0000000000.json", ".t+0+0000000000.json.meta"] { #expect(unlink("\(path)/\(name)") == 0) }
        #expect(rmdir(path) == 0)
        let again = "\(folder)/t+0+0000000001.json"
        let error = #expect(throws: StorageError.self) { try store.put(again, body: .bytes([2])) }
        #expect(error?.kind == .transient)
        #expect(try store.put(again, body: .bytes([2])) != .alreadyExists)
        #expect(try store.head(again)?.size == 1)
    }

    /// Down to the root: what was known of its folders is not believed.
    @Test func aRootThatWasRemovedIsMadeAgain() throws {
        let store = try open()
        _ = try store.put("t/a/one", body: .bytes([1]))
        #expect(rename(directory.path + "/lake", directory.path + "/away") == 0)
        let error = #expect(throws: StorageError.self) { try store.put("t/b/two", body: .bytes([2])) }
        #expect(error?.kind == .transient)
        #expect(try store.put("t/b/two", body: .bytes([2])) != .alreadyExists)
        #expect(try store.head("t/b/two")?.size == 1)
    }

    @Test func whetherItCanBeWrittenIsTriedWithAFileOfItsOwn() throws {
        let store = try open()
        #expect(try store.probeConditional() == .honoured)
        let folder = directory.path + "/lake/deep/_sluice"
        let before = names(in: folder)
        try store.probeWriting()
        #expect(names(in: folder) == before)
        // Nothing can be made in a file; what is only looked for would be found to be there.
        #expect(rename(folder, folder + ".away") == 0)
        let file = try OpenFile(folder, O_WRONLY | O_CREAT, "test", key: nil)
        _ = file.descriptor
        #expect(throws: StorageError.self) { try open().probeWriting() }
    }

    @Test func putHeadGet() throws {
        let store = try open()
        let key = "t/year=2024/month=01/t+0+0000000000.json"
        let metadata = [("sluice-start", "0"), ("sluice-first-pos", "1/\"0\\1\"/2")]
        let body = jsonRows(5000)
        #expect(try store.head(key) == nil)
        let hash = try SHA256Digest.of(body)
        #expect(try store.put(key, body: .bytes(body), metadata: metadata, sha256: hash) == .created(etag: hash.hex))
        #expect(try store.put(key, body: .bytes([1]), metadata: [("sluice-start", "9")]) == .alreadyExists)
        let info = try #require(try store.head(key))
        #expect(info.size == Int64(body.count) && info.metadata == Dictionary(uniqueKeysWithValues: metadata))
        #expect(info.etag == hash.hex && info.contentType == "application/json")
        #expect(try store.bytes(key) == body)
        let place = directory.path + "/lake/deep/t/year=2024/month=01"
        #expect(names(in: place) == [".t+0+0000000000.json.meta", "t+0+0000000000.json"])
        try store.delete(key)
        try store.delete(key)
        #expect(names(in: place) == [])
        #expect(throws: StorageError.self) { try store.bytes(key) }
    }

    @Test func spooledBody() throws {
        let store = try open()
        for round in 0..<2 {
            var spool = try SpoolFile(in: directory.path)
            let rows = jsonRows(4000 - round * 1000, seed: UInt64(round))
            try spool.append(rows.span)
            try spool.append(rows.span)
            #expect(spool.length == 2 * rows.count)
            #expect(try store.put("k\(round)", body: spool.body) != .alreadyExists)
            #expect(try store.bytes("k\(round)") == rows + rows)
        }
        let tooLong = ObjectBody.file(descriptor: STDIN_FILENO, length: 1 << 40)
        #expect(throws: StorageError.self) { try store.put("long", body: tooLong) }
        #expect(try store.keys("") == ["k0", "k1"])
    }

    @Test func replaces() throws {
        let store = try open()
        #expect(try store.put("k", body: .bytes([1]), metadata: [("v", "1")], condition: .none) != .alreadyExists)
        #expect(try store.put("k", body: .bytes([2, 3]), metadata: [("v", "2")], condition: .none) != .alreadyExists)
        #expect(try store.bytes("k") == [2, 3])
        #expect(try store.head("k")?.metadata == ["v": "2"])
        #expect(try store.probeConditional() == .honoured)
        #expect(try store.probeConditional() == .honoured)
    }

    @Test(arguments: [
        "", "/a", "a/", "a//b", ".a", "a/.b", "..", "a/../b", "a\nb", "a\u{0}", String(repeating: "x", count: 1025),
    ])
    func refusedKeys(_ key: String) throws {
        let store = try open()
        let error = #expect(throws: StorageError.self) { try store.put(key, body: .bytes([])) }
        #expect(error?.kind == .fatal)
    }

    @Test(arguments: [
        [("A", "x")], [("a", "x"), ("a", "y")], [("a", "é")], [("a", " x")], [("a_b", "x")],
        [("a", String(repeating: "x", count: 2048))],
    ])
    func refusedMetadata(_ metadata: [(String, String)]) throws {
        let store = try open()
        #expect(throws: StorageError.self) { try store.put("k", body: .bytes([]), metadata: metadata) }
    }

    @Test func wrongHashIsRefused() throws {
        let store = try open()
        let other = try SHA256Digest.of([9])
        #expect(throws: StorageError.self) { try store.put("k", body: .bytes([1]), sha256: other) }
        #expect(names(in: directory.path + "/lake/deep") == [])
    }

    @Test func errorsAreClassified() throws {
        let store = try open()
        #expect(try store.put("a", body: .bytes([1])) != .alreadyExists)
        func kind(_ work: () throws -> Void) -> StorageError.Kind? {
            #expect(throws: StorageError.self) { try work() }?.kind
        }
        #expect(kind { _ = try store.put("a/b", body: .bytes([1])) } == .fatal)
        #expect(try store.head("a/b") == nil)
        #expect(kind { _ = try store.put(String(repeating: "x", count: 240), body: .bytes([1])) } == .fatal)
        #expect(kind { _ = try store.bytes("missing") } == .notFound)
        #expect(kind { _ = try ObjectStore(.file(FileStoreSettings(root: "relative"))) } == .fatal)
        let raised = AbortFlag()
        raised.raise()
        #expect(kind { _ = try open(raised).put("b", body: .bytes([1])) } == .aborted)
        #expect(try store.head("b") == nil)
    }

    /// Nobody makes a folder there, not even root; that it lies in one that exists is no reason to say so.
    @Test func aFolderThatCannotBeMadeSaysWhy() throws {
        let store = try ObjectStore(.file(FileStoreSettings(root: "/sys")))
        let error = #expect(throws: StorageError.self) { try store.put("sluice-test/a", body: .bytes([1])) }
        #expect(
            error?.kind == .denied && error?.message.contains("mkdir /sys/sluice-test") == true,
            "\(error.debugDescription)")
    }

    @Test func listsInTheOrderOfKeys() throws {
        let store = try open()
        let keys = [
            "a-b", "a/x", "a/y/z", "a.b", "ab", "b/é", "b/e\u{301}", "t/h=1/t+0+1", "t/h=1/t+0+10", "t/h=2/t+0+2",
        ]
        for key in keys { #expect(try store.put(key, body: .bytes(Array(key.utf8))) != .alreadyExists) }
        mkdir(directory.path + "/lake/deep/empty", 0o755)
        let sorted = keys.sorted(by: KeyOrder.precedes)
        for max in [1, 2, 3, 7, 1000] {
            #expect(try store.keys("", max: max) == sorted)
            #expect(try store.keys("t/h=", max: max) == ["t/h=1/t+0+1", "t/h=1/t+0+10", "t/h=2/t+0+2"])
        }
        for after in sorted + ["a/", "a", "t/h=1/t+0+1x", "zzz"] {
            #expect(try store.keys("", startAfter: after, max: 2) == sorted.filter { KeyOrder.precedes(after, $0) })
        }
        var prefixes: [String] = []
        var objects: [String] = []
        var next: ListContinuation?
        repeat {
            let page = try store.list(prefix: "", delimited: true, max: 2, continuing: next)
            prefixes += page.commonPrefixes
            objects += page.objects.map(\.key)
            next = page.next
        } while next != nil
        #expect(prefixes == ["a/", "b/", "t/"] && objects == ["a-b", "a.b", "ab"])
        #expect(try store.list(prefix: "t/", delimited: true).commonPrefixes == ["t/h=1/", "t/h=2/"])
        #expect(
            try store.list(prefix: "t/h=1/t", delimited: true).objects.map(\.key) == ["t/h=1/t+0+1", "t/h=1/t+0+10"])
        #expect(
            try store.list(prefix: "none/", delimited: true) == ListPage(objects: [], commonPrefixes: [], next: nil))
    }

    @Test func hiddenNamesDoNotMeet() {
        let names = FileNames("a")
        #expect(names.isHidden(names.newHidden()) && names.isHidden(names.newHidden() + ".meta"))
        for other in ["a.0123456789abcdef", "a.0123456789abcdef.meta", "b", "a.b", "."] {
            let theirs = FileNames(other[...])
            for name in [theirs.object, theirs.metadata, theirs.newHidden(), theirs.newHidden() + ".meta"] {
                #expect(!names.isHidden(name), "\(name)")
            }
        }
    }

    @Test func metadataReadsWhatItWrote() {
        let metadata = FileMetadata(
            body: "..é.1", etag: "00", contentType: "a/b", contentEncoding: "gzip",
            metadata: [("b", "\\\""), ("a", "")])
        let json = metadata.json
        #expect(FileMetadata(json: json) == metadata)
        for end in 0..<(json.count - 1) { #expect(FileMetadata(json: Array(json[..<end])) == nil) }
        for index in json.indices {
            for byte: UInt8 in [0, 0x22, 0x5C, 0x7D, 0xFF] {
                var changed = json
                changed[index] = byte
                _ = FileMetadata(json: changed)
            }
        }
    }
}
