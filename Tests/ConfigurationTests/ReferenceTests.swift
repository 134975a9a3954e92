import Glibc
import Testing

@testable import Configuration

@Suite struct ReferenceTests {
    /// The top of the repository, from the place of this file.
    private let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    private func read(_ path: String) throws -> String {
        String(decoding: try FileReader.read("\(root)/\(path)"), as: UTF8.self)
    }

    /// `SLUICE_UPDATE_REFERENCE=1 swift test --filter ReferenceTests` writes the page anew.
    @Test func theReferenceIsTheTable() throws {
        let path = "ops/reference/configuration.md"
        if getenv("SLUICE_UPDATE_REFERENCE") != nil {
            let file = try #require(fopen("\(root)/\(path)", "w"))
            fputs(Reference.markdown(), file)
            fclose(file)
        }
        let page = try read(path)
        #expect(page == Reference.markdown(), "run with SLUICE_UPDATE_REFERENCE=1 and commit \(path)")
        for key in Schema.keys { #expect(page.contains("`\(key.path)`"), "\(key.path) is not in the reference") }
    }

    /// Reads the example with its comments taken off: every key must be there, in its section, defaults as in the table.
    @Test func theExampleHasEveryKey() throws {
        var section: [(indent: Int, name: String)] = []
        var found: [String: String] = [:]
        for line in try read("replication/sluice.yaml").split(separator: "\n") {
            let indent = line.prefix { $0 == " " }.count
            let body = line.dropFirst(indent).drop { $0 == "#" }.drop { $0 == " " }
            guard let colon = body.firstIndex(of: ":") else { continue }
            let name = String(body[..<colon])
            while let last = section.last, last.indent >= indent { section.removeLast() }
            let path = (section.map(\.name) + [name]).joined(separator: ".")
            guard Schema.byPath[path] != nil else { continue }
            found[path] = String(body[body.index(after: colon)...].trimmingBlanks())
            if Schema.byPath[path]?.isSection == true || Schema.byPath[path]?.isOpen == true {
                section.append((indent, name))
            }
        }
        for key in Schema.keys {
            #expect(found[key.path] != nil, "\(key.path) is not in the example")
            if let text = key.defaultText { #expect(found[key.path]?.filter { $0 != "\"" } == text, "\(key.path)") }
        }
    }

    @Test func theExampleLoads() throws {
        let secrets = ["/run/secrets/postgres": "p\n", "/run/secrets/s3": "s\n"]
        let c = try load(try read("replication/sluice.yaml"), environment: [:], files: secrets)
        #expect(c.name == "tesouro" && c.postgres.password == Secret("p") && c.s3?.pathStyle == true)
    }

    @Test func theShortestFileOfTheReferenceLoads() throws {
        let page = Reference.markdown()
        let start = try #require(page.ranges(of: "```yaml\n").first).upperBound
        let end = try #require(page[start...].ranges(of: "```").first).lowerBound
        let c = try load(String(page[start..<end]))
        #expect(c.postgres.tables.count == 2)
    }

    @Test func everyDefaultIsAllowed() throws {
        // A default that its own key refused would show in the shortest file.
        _ = try load(minimal)
        #expect(Set(Schema.keys.map(\.path)).count == Schema.keys.count)
    }

    /// The file cut at every byte, and with bytes changed at random: an answer each time, never a trap.
    @Test func anyBytesGiveAnAnswer() throws {
        let bytes = Array(try read("replication/sluice.yaml").utf8)
        let environment = awsKeys
        func attempt(_ bytes: [UInt8]) {
            do throws(ConfigurationProblems) {
                _ = try Configuration.parse(
                    bytes, file: "f", environment: environment,
                    readFile: files(["/run/secrets/postgres": "p", "/run/secrets/s3": "s"]))
            } catch {
                #expect(!error.problems.isEmpty && !error.description.isEmpty)
            }
        }
        for length in 0...bytes.count { attempt(Array(bytes[..<length])) }
        let seed =
            getenv("SLUICE_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)
        print("anyBytesGiveAnAnswer: SLUICE_TEST_SEED=\(seed)")
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<3_000 {
            var changed = bytes.filter { _ in true }
            for _ in 0...Int.random(in: 0..<8, using: &generator) {
                let index = Int.random(in: 0..<changed.count, using: &generator)
                if Bool.random(using: &generator) {
                    changed[index] = UInt8.random(in: 0...255, using: &generator)
                } else {
                    // Bytes that mean something in YAML and in our values.
                    changed[index] = Array("{}[]:&*!|>'\"%@`,#?-\n\t ${}.0~".utf8).randomElement(using: &generator) ?? 0
                }
            }
            attempt(changed)
        }
    }
}
