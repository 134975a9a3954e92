import Glibc
import Testing

@testable import ObjectStorage

/// The promise of a directory store: one winner, and its metadata, whoever dies where.
@Suite struct FileRaceTests {
    let directory = TemporaryDirectory()

    static func request(_ writer: String, key: String = "k") -> PutRequest {
        PutRequest(
            key: key, body: .bytes(Array("written by \(writer)".utf8)), metadata: [("writer", writer)],
            contentType: "text/plain", contentEncoding: nil, condition: .ifAbsent, sha256: nil, timeout: nil)
    }

    static func publication(_ directory: String, key: String = "k") -> FilePublication {
        FilePublication(directory: directory, name: key, key: key, abort: AbortFlag())
    }

    /// Body and metadata are one writer's.
    func winner(_ key: String = "k") throws -> String? {
        let store = try ObjectStore(.file(FileStoreSettings(root: directory.path)))
        guard let info = try store.head(key) else { return nil }
        let body = String(decoding: try store.bytes(key), as: UTF8.self)
        let writer = try #require(info.metadata["writer"])
        #expect(body == "written by \(writer)")
        #expect(try info.etag == SHA256Digest.of(Array(body.utf8)).hex)
        return writer
    }

    @Test(arguments: FilePublication.Step.allCases)
    func aWriterDiesAndTheNextGoesOn(_ step: FilePublication.Step) async throws {
        let path = directory.path
        // A real death: no `defer`, no `deinit`.
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, step = "\(step)" as String] in
            var publication = FileRaceTests.publication(path)
            publication.reached = { if "\($0)" == step { kill(getpid(), SIGKILL) } }
            _ = try publication.publish(FileRaceTests.request("first"))
        }
        let store = try ObjectStore(.file(FileStoreSettings(root: path)))
        let visible = try store.keys("")
        #expect(visible == (step == .linked || step == .linkDurable ? ["k"] : []))
        let result = try FileRaceTests.publication(path).publish(FileRaceTests.request("second"))
        let firstHadClaimed = step != .bodyWritten && step != .metadataWritten
        #expect((result == .alreadyExists) == firstHadClaimed)
        #expect(try winner() == (firstHadClaimed ? "first" : "second"))
        #expect(names(in: path) == [".k.meta", "k"])
    }

    /// The body of a dead claim is gone too (a disk that kept one entry and lost the other; an object removed by hand).
    @Test(arguments: [true, false]) func aClaimWithoutBodyIsTakenOver(_ isReadable: Bool) throws {
        let path = directory.path
        let hollow = FileMetadata(
            body: FileNames("k").newHidden(), etag: "", contentType: "", contentEncoding: nil,
            metadata: [("writer", "ghost")])
        try write(isReadable ? hollow.json : [], to: "\(path)/.k.meta")
        #expect(try winner() == nil)
        #expect(try FileRaceTests.publication(path).publish(FileRaceTests.request("second")) != .alreadyExists)
        #expect(try winner() == "second")
        #expect(names(in: path) == [".k.meta", "k"])
    }

    /// A claim's body name is a file's content: it must not lead anywhere else.
    @Test func aForgedClaimIsNotFollowed() throws {
        let path = directory.path
        try write([7], to: "\(path)/other")
        let forged = FileMetadata(body: "other", etag: "", contentType: "", contentEncoding: nil, metadata: [])
        try write(forged.json, to: "\(path)/.k.meta")
        #expect(try FileRaceTests.publication(path).publish(FileRaceTests.request("second")) != .alreadyExists)
        #expect(try winner() == "second")
    }

    private func race(_ writers: Int, key: String) throws {
        let path = directory.path
        let wins = onThreads(writers) { writer -> String? in
            let name = "writer \(writer)"
            let request = FileRaceTests.request(name, key: key)
            guard let result = try? FileRaceTests.publication(path, key: key).publish(request) else { return "failed" }
            return result == .alreadyExists ? nil : name
        }.compactMap { $0 }
        #expect(wins.count == 1)
        #expect(try winner(key) == wins.first)
    }

    @Test func racersHaveOneWinner() throws {
        for round in 0..<12 { try race(8, key: "k\(round)") }
        #expect(names(in: directory.path).count == 24)
    }

    @Test func racersOverADeadClaimHaveOneWinner() throws {
        for round in 0..<12 {
            let key = "k\(round)"
            let hollow = FileMetadata(
                body: FileNames(key[...]).newHidden(), etag: "", contentType: "", contentEncoding: nil,
                metadata: [("writer", "ghost")])
            try write(hollow.json, to: "\(directory.path)/.\(key).meta")
            try race(8, key: key)
        }
        #expect(names(in: directory.path).count == 24)
    }
}
