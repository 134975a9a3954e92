import Testing

@testable import Configuration

@Suite struct YAMLTests {
    private func failure(_ text: String) -> String {
        failure(Array(text.utf8))
    }

    private func failure(_ bytes: [UInt8]) -> String {
        do throws(YAMLFailure) {
            _ = try YAMLTree.parse(bytes)
            return "none"
        } catch {
            let place = error.location.map { "\($0.line):\($0.column) " } ?? ""
            return place + error.message
        }
    }

    @Test func whatAConfigurationNeverNeedsIsRefused() {
        #expect(failure("") == "the file is empty")
        #expect(failure("# only\n") == "the file is empty")
        #expect(failure("a: &x 1\n").hasPrefix("1:4 an anchor"))
        #expect(failure("a: 1\nb: *x\n").hasPrefix("2:4 an alias"))
        #expect(failure("a: !!str 1\n").hasPrefix("1:4 a tag"))
        #expect(failure("a: ! 1\n").hasPrefix("1:4 a tag"))
        #expect(failure("a: 1\n---\nb: 2\n").hasPrefix("2:1 a second document"))
        #expect(failure("<<: {a: 1}\n").hasPrefix("1:1 a merge key"))
        #expect(failure("\"<<\": {a: 1}\n") == "none")
        #expect(failure("[a]: 1\n").hasPrefix("1:1 a key must be a single word"))
        #expect(failure("? {a: 1}\n: 1\n").contains("a key must be a single word"))
        #expect(failure("a:\n\tb: 1\n").contains("a tab?"))
        #expect(failure("a: \"x\\0y\"\n").contains("NUL"))
        #expect(failure("a: \u{7}\n").contains("control characters"))
        #expect(failure([0x61, 0x3A, 0x0A, 0xFF]) == "2:1 not UTF-8 on this line")
        #expect(failure([0xFF, 0xFE, 0x61, 0]).hasPrefix("UTF-16"))
        #expect(failure(String(repeating: "[", count: 17)).contains("nested more than 16 deep"))
        #expect(failure(String(repeating: "[", count: 200_000)).contains("deep"))
        #expect(failure(String(repeating: "- 1\n", count: 10_001)).contains("more than 10000 values"))
        #expect(failure(String(repeating: " ", count: 300_000)).contains("at most 262144"))
        #expect(failure("a: [1\n").contains("not valid YAML"))
    }

    @Test func bombOfAliases() {
        let bomb = "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"
        #expect(failure(bomb).contains("an anchor (&name) is not allowed"))
    }

    @Test func tree() throws {
        let root = try YAMLTree.parse(Array("\u{FEFF}a: é x\n# c\nb:\n  - 1\n  - 'null'\n  -\n".utf8))
        guard case .mapping(let entries) = root.content else { throw YAMLFailure("no mapping") }
        #expect(entries.map(\.key) == ["a", "b"])
        #expect(entries[1].keyLocation == SourceLocation(line: 3, column: 1))
        guard case .sequence(let items) = entries[1].value.content else { throw YAMLFailure("no list") }
        #expect(items.map(\.isNull) == [false, false, true])
        #expect(items[1].location == SourceLocation(line: 5, column: 5))
    }

    @Test func sizes() {
        for (text, bytes) in [
            ("0", 0), ("8MiB", 8 << 20), ("1 GB", 1_000_000_000), ("5B", 5), ("9223372036854775807", Int.max),
        ] {
            #expect(ByteSize.parse(text) == bytes)
        }
        for text in ["", "MiB", "-1", "1K", "1.5GiB", "8mib", "9223372036854775808", "9999999999999TiB", "1GiB "] {
            #expect(ByteSize.parse(text) == nil, "\(text)")
        }
        #expect(ByteSize.text(128 << 20) == "128MiB" && ByteSize.text(1000) == "1000" && ByteSize.text(0) == "0")
    }

    @Test func durations() {
        for (text, value) in [
            ("0s", Duration.zero), ("5ms", .milliseconds(5)), ("1h30m", .seconds(5400)), ("10m", .seconds(600)),
            ("2d", .seconds(172_800)),
            ("7us", .microseconds(7)),
        ] {
            #expect(TimeSpan.parse(text) == value)
        }
        for text in [
            "", "0", "5", "s", "1m1h", "1s1s", "-1s", "1.5s", "1 s", "99999999999999999999s", "9223372036854775807d",
            "36526d", "1٣s",
        ] {
            #expect(TimeSpan.parse(text) == nil, "\(text)")
        }
        #expect(
            TimeSpan.text(.seconds(5400)) == "90m" && TimeSpan.text(.zero) == "0s"
                && TimeSpan.text(.microseconds(1500)) == "1500us")
    }

    @Test func tables() throws {
        let pattern = try #require(ConfiguredTable("public.*_gold"))
        #expect(pattern.schema == "public" && pattern.table == "*_gold" && !pattern.isLiteral)
        let quoted = try #require(ConfiguredTable("\"my.schema\".\"t x\""))
        #expect(quoted.schema == "my.schema" && quoted.table == "t x" && quoted.isLiteral)
        #expect(quoted.description == "\"my.schema\".\"t x\"")
        for text in ["", ".", "a.", ".b", "a", "a.b.c", "\"a.b", "\"a\"b.c", "a b.c", "a\"b\".c"] {
            #expect(ConfiguredTable(text) == nil, "\(text)")
        }
    }

    @Test func locations() {
        #expect(ObjectLocation("s3://abc") == .bucket(name: "abc", prefix: ""))
        #expect(ObjectLocation("s3://abc/x/y/") == .bucket(name: "abc", prefix: "x/y"))
        #expect(ObjectLocation("file:///var/lake") == .directory("/var/lake"))
        for text in [
            "s3:/abc", "s3://ab", "s3://abc/x//y", "s3://abc/../y", "s3://abc/.x", "s3://abc/x/.y", "s3://abc/x?y",
            "s3://a bc", "file://var",
            "file:///", "file:///a/../b", "",
        ] {
            #expect(ObjectLocation(text) == nil, "\(text)")
        }
        #expect(ListenAddress("localhost:1")?.host == "127.0.0.1" && ListenAddress("[::1]:0")?.description == "[::1]:0")
    }
}
