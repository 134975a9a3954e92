import Testing

@testable import ObjectStorage

/// Answers that say 200, and are none of an object store.
extension FailureTests {
    /// A proxy, a login page, or an error that came after the status was sent.
    @Test(arguments: [
        ("200 OK", "", "", "no ETag"), ("204 No Content", "ETag: \"abc\"\r\n", "", "no ETag"),
        ("200 OK", "ETag: \"abc\"\r\nContent-Type: text/html\r\n", "<html>log in</html>", "content (text/html)"),
        ("200 OK", "ETag: \"abc\"\r\n", "<Error><Code>InternalError</Code><Message>again</Message></Error>", "again"),
    ])
    func anAnswerOf200ThatIsNotAStores(
        _ status: String, _ headers: String, _ body: String, _ why: String
    ) throws {
        let error = try putFailure(.answer(ScriptedServer.response(status, body, headers: headers)))
        // The object is looked for, and where it is not there, put again.
        #expect(error?.kind == .indefinite && error?.message.contains(why) == true, "\(error?.description ?? "stored")")
        #expect((error?.code == "InternalError") == body.contains("Internal"))
        #expect((error?.hint == nil) == body.contains("Internal"))
    }

    /// Such a page is no object without metadata, which would be taken for another program's.
    @Test func aPageIsNoObject() throws {
        let server = ScriptedServer([.answer(ScriptedServer.response("200 OK", "<html>log in</html>"))])
        defer { server.close() }
        let store = try store(server)
        #expect(#expect(throws: StorageError.self) { try store.head("k") }?.kind == .transient)
        #expect(#expect(throws: StorageError.self) { try store.bytes("k") }?.kind == .transient)
    }
}
