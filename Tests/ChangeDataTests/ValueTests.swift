import ChangeData
import Foundation
import Testing

/// How one value of a type is written.
struct ValueTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var type: UInt32
        var modifier: Int32 = -1
        var text: String
        /// Nil: refused.
        var json: String?
        var testDescription: String { "\(type) \(text)" }

        init(_ type: UInt32, _ text: String, _ json: String?, modifier: Int32 = -1) {
            self.type = type
            self.text = text
            self.json = json
            self.modifier = modifier
        }
    }

    static let types: [UInt32: PostgresType] = [
        // As the catalog has them, where a domain is over them.
        23: PostgresType(schema: "pg_catalog", name: "int4", kind: .base),
        1007: PostgresType(schema: "pg_catalog", name: "_int4", kind: .array(element: 23, delimiter: 0x2C)),
        1184: PostgresType(schema: "pg_catalog", name: "timestamptz", kind: .base),
        16: PostgresType(schema: "pg_catalog", name: "bool", kind: .base),
        20_000: PostgresType(schema: "public", name: "hstore", kind: .base),
        20_001: PostgresType(schema: "public", name: "when", kind: .domain(base: 1184, modifier: 3)),
        20_002: PostgresType(schema: "public", name: "deep", kind: .domain(base: 20_003, modifier: -1)),
        20_003: PostgresType(schema: "public", name: "deeper", kind: .domain(base: 1007, modifier: -1)),
        20_004: PostgresType(schema: "public", name: "_mood", kind: .array(element: 20_005, delimiter: 0x2C)),
        20_005: PostgresType(schema: "public", name: "mood", kind: .enum),
        20_006: PostgresType(schema: "public", name: "loop", kind: .domain(base: 20_006, modifier: -1)),
        20_007: PostgresType(schema: "public", name: "_when", kind: .array(element: 20_001, delimiter: 0x2C)),
    ]

    /// What is written in a column `c` of the type, or nil where the row is refused.
    static func write(_ test: Case, isKey: Bool = false, _ change: (inout EventFormat) -> Void = { _ in }) -> String? {
        var format = EventFormat.test
        change(&format)
        let session = Session(format) { _ in TableDescription(primaryKey: [isKey ? "c" : "id"], types: types) }
        let column = Relation.Column(name: "c", typeOID: test.type, modifier: test.modifier, isKey: isKey)
        let table = Relation(
            oid: 1, table: TableName(schema: "s", name: "t"), replicaIdentity: .default,
            columns: [Relation.Column(name: "id", typeOID: 23, modifier: -1, isKey: !isKey), column])
        let outputs = EncoderTests.feed(
            session, [Build.begin(1), Build.relation(table), Build.insert(1, [.text("1"), .text(test.text)])])
        let text = isKey ? outputs.first?.key : outputs.first?.value
        guard let text, let json = try? TestJSON(text) else { return nil }
        return (isKey ? json["c"] : json["after"]?["c"])?.description
    }

    @Test(arguments: [
        Case(16, "t", "true"), Case(16, "x", nil), Case(16, "", nil), Case(23, "-5", "-5"), Case(20, "007", nil),
        Case(23, "1.0", nil), Case(23, "", nil), Case(23, "-", nil), Case(701, "10", "10.0"), Case(701, "-0", "-0.0"),
        Case(701, "1e+21", "1e+21"), Case(701, "Infinity", "\"Infinity\""), Case(701, "1e", nil), Case(701, ".5", nil),
        Case(701, "1.", nil), Case(701, "nan", nil), Case(701, "12345678.12345678x", nil),
        Case(701, "123456789", "123456789.0"),
        Case(1700, "1.10", "\"1.10\""), Case(1700, "-Infinity", "\"NEGATIVE_INFINITY\""), Case(1700, "1,5", nil),
        Case(790, "-$92,233,720,368,547,758.08", "\"-92233720368547758.08\""), Case(790, "R$ 1,50", nil),
        Case(790, "$1.5", nil),
        Case(17, "\\x00ff80", "\"AP+A\""), Case(17, "\\x", "\"\""), Case(17, "\\x0", nil), Case(17, "\\xzz", nil),
        Case(17, "abc", nil), Case(17, "\\xDEADBEEF", "\"3q2+7w==\""),
    ])
    func numbersAndBytes(_ test: Case) {
        #expect(Self.write(test) == test.json)
    }

    @Test(arguments: [
        Case(1082, "2024-02-29", "\"2024-02-29Z\""), Case(1082, "0044-03-15 BC", "\"-0043-03-15Z\""),
        Case(1082, "-infinity", "\"-infinity\""), Case(1082, "29/02/2024", nil), Case(1082, "2024-13-01", nil),
        Case(1082, "2024-02-29 ", nil), Case(1082, "5874897-12-31", "\"+5874897-12-31Z\""),
        Case(1083, "24:00:00", "\"24:00:00Z\""), Case(1083, "12:34:56.120000", "\"12:34:56.12Z\""),
        Case(1083, "25:00:00", nil),
        Case(1266, "10:00:00-01:02:03", "\"11:02:03Z\""), Case(1266, "24:00:00+00", "\"24:00:00Z\""),
        Case(1266, "24:00:00+02", "\"22:00:00Z\""), Case(1266, "01:00:00+02", "\"23:00:00Z\""),
        Case(1266, "23:30:00.5-01", "\"00:30:00.5Z\""), Case(1266, "10:00:00", nil),
        Case(1184, "2024-02-29 12:34:56+00", "\"2024-02-29T12:34:56.000000Z\""),
        Case(1184, "2024-01-01 01:00:00+02", "\"2023-12-31T23:00:00.000Z\"", modifier: 3),
        Case(1184, "2024-12-31 23:00:00-02:30", "\"2025-01-01T01:30:00Z\"", modifier: 0),
        Case(1184, "0001-01-01 00:30:00+01 BC", "\"-0001-12-31T23:30:00.000000Z\""),
        Case(1184, "infinity", "\"infinity\""),
        Case(1184, "2024-02-29T12:34:56Z", nil),
        Case(20_001, "2024-02-29 12:34:56.1+00", "\"2024-02-29T12:34:56.100Z\""),
        Case(1186, "1 year -2 mons +3 days -04:05:06.789", "\"P1Y-2M3DT-4H-5M-6.789S\""),
        Case(1186, "-00:00:00.5", "\"P0Y0M0DT0H0M-0.5S\""), Case(1186, "infinity", "\"infinity\""), Case(1186, "", nil),
        Case(1186, "P1Y", nil), Case(1186, "1 fortnight", nil), Case(1186, "1 day ", nil),
        Case(1186, "99999999999 days", nil),
    ])
    func times(_ test: Case) {
        #expect(Self.write(test) == test.json)
    }

    @Test(arguments: [
        Case(1007, "{}", "[]"), Case(1007, "{1,NULL}", "[1,null]"), Case(1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        Case(1007, "[0:1][2:3]={{1,2},{3,4}}", "[[1,2],[3,4]]"), Case(1007, "{1", nil), Case(1007, "{1,}", nil),
        Case(1007, "{,1}", nil), Case(1007, "{1}}", nil), Case(1007, "1", nil), Case(1007, "", nil),
        Case(1007, "[0:1]", nil),
        Case(1007, "{1{2}}", nil), Case(1007, "{x}", nil), Case(1007, "{{1},}", nil), Case(1009, "{\"a", nil),
        Case(1009, "{\"NULL\",NULL,\"\",\"a\\\"b\\\\c\",x y}", #"["NULL",null,"","a\"b\\c","x y"]"#),
        Case(1020, "{(3,4),(1,2);NULL}", #"["(3,4),(1,2)",null]"#),
        Case(1115, "{\"2024-01-01 00:00:00\"}", #"["2024-01-01T00:00:00Z"]"#),
        Case(20_002, "{1,2}", "[1,2]"), Case(20_004, "{sad,NULL,\"it's \\\"q\\\"\"}", #"["sad",null,"it's \"q\""]"#),
        Case(20_006, "loop", "\"loop\""), Case(20_007, "{\"2024-01-01 00:00:00+00\"}", #"["2024-01-01 00:00:00+00"]"#),
        Case(1001, "{\"\\\\x00ff\",NULL}", #"["AP8=",null]"#), Case(99_999, "who knows", "\"who knows\""),
    ])
    func arraysAndUserTypes(_ test: Case) {
        #expect(Self.write(test) == test.json)
    }

    @Test(arguments: [
        Case(1560, "100000000001", "\"AQg=\"", modifier: 12), Case(1560, "0000", "\"\"", modifier: 4),
        Case(1560, "1", "true", modifier: 1), Case(1560, "2", nil, modifier: 1), Case(1560, "0120", nil, modifier: 4),
        Case(1560, "0101", "\"0101\""), Case(1562, "0000", "\"0000\"", modifier: 8), Case(1562, "", "\"\""),
        Case(1561, "{0101,NULL}", #"["0101",null]"#, modifier: 4),
        Case(600, "(1,-0)", #"{"x":1.0,"y":-0.0,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAACA","srid":null}"#),
        Case(600, "(1;2)", nil), Case(600, "()", nil), Case(600, "(1,2,3)", nil),
        Case(20_000, "\"a\"=>\"1\", \"b\\\"\"=>NULL", #""{\"a\":\"1\",\"b\\\"\":null}""#), Case(20_000, "", "\"{}\""),
        Case(20_000, "a=>1", nil), Case(20_000, "\"a\"=>", nil), Case(20_000, "\"a\"=>\"1\",", nil),
        Case(20_000, "\"a\"", nil),
    ])
    func bitsPointsAndPairs(_ test: Case) {
        #expect(Self.write(test) == test.json)
    }

    @Test(arguments: [
        Case(
            114, " {\"a\" : [1 , 2.50,\n true, null, \"x y\\u00e9\"] , \"b\":{} } ",
            #"{"a":[1,2.50,true,null,"x y\u00e9"],"b":{}}"#),
        Case(3802, "1e400", "1e400"), Case(114, "\"x\"", "\"x\""), Case(114, "[[],[{}]]", "[[],[{}]]"),
        Case(114, "", nil),
        Case(114, "[1,]", nil), Case(114, "{\"a\":1,}", nil), Case(114, "{a:1}", nil), Case(114, "[1}", nil),
        Case(114, "1 2", nil),
        Case(114, "{\"a\" 1}", nil), Case(114, "tru", nil), Case(114, "01", nil), Case(114, "\"\n\"", nil),
        Case(114, "\"\\x\"", nil),
        Case(114, "\"\\u12g4\"", nil), Case(114, "[", nil), Case(114, "NaN", nil), Case(114, ",", nil),
        Case(114, "{1:2}", nil),
        Case(199, "{\"{\\\"a\\\": 1}\",NULL}", #"[{"a":1},null]"#),
    ])
    func inlinedJSON(_ test: Case) {
        #expect(Self.write(test) { $0.json = .inline } == test.json)
    }

    @Test func deepJSONIsNoDanger() {
        let depth = 200_000
        let text = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        let session = Session(FlatTests.flat { $0.json = .inline })
        var table = Build.table()
        table.columns[1].typeOID = 114
        let outputs = EncoderTests.feed(
            session, [Build.begin(1), Build.relation(table), Build.insert(100, EncoderTests.row(1, text))])
        #expect(outputs.count == 1)
    }

    @Test(arguments: [
        Case(1082, "1969-12-31", "-1"), Case(1082, "2000-03-01", "11017"), Case(1082, "4713-01-01 BC", "-2440550"),
        Case(1082, "infinity", "\"infinity\""), Case(1114, "1969-12-31 23:59:59.999999", "-1"),
        Case(1114, "2024-02-29 12:34:56.5", "1709210096500000"),
        Case(1184, "2024-02-29 12:34:56.5-03", "1709220896500000"),
        Case(1114, "0001-12-31 23:59:59.5 BC", "-62135596800500000"),
        Case(1184, "0001-12-31 23:59:59.5+00 BC", "-62135596800500000"),
        Case(1114, "294276-12-31 23:59:59.999999", "9224318015999999999"), Case(1083, "24:00:00", "86400000000"),
        Case(1266, "01:00:00+02", "82800000000"), Case(1182, "{1970-01-02}", "[1]"),
    ])
    func epochs(_ test: Case) {
        #expect(Self.write(test) { $0.timestamps = .epoch } == test.json)
    }

    @Test func numericAsNumber() {
        for (text, json) in [
            ("1.10", "1.10"), ("-12345678901234567890.5", "-12345678901234567890.5"), ("NaN", "\"NAN\""),
        ] {
            #expect(Self.write(Case(1700, text, json)) { $0.numeric = .number } == json)
        }
    }

    /// What Java 17's Double.toString and Float.toString write.
    @Test(arguments: [
        ("0.1", "0.1"), ("1", "1.0"), ("100", "100.0"), ("-0", "-0.0"), ("0", "0.0"), ("1e+07", "1.0E7"),
        ("9999999", "9999999.0"),
        ("12345678", "1.2345678E7"), ("0.001", "0.001"), ("0.00099999", "9.9999E-4"), ("1e-07", "1.0E-7"),
        ("1e+21", "1.0E21"),
        ("1.7976931348623157e+308", "1.7976931348623157E308"), ("123456789.12345679", "1.2345678912345679E8"),
        ("491.69000000000005", "491.69000000000005"), ("-1234.5", "-1234.5"), ("1200000", "1200000.0"),
        ("NaN", "\"NaN\""),
        ("1.5e-10", "1.5E-10"),
    ])
    func floatsInKeysAreJavas(_ text: String, _ java: String) {
        #expect(Self.write(Case(701, text, java), isKey: true) == java)
    }

    @Test func textIsWrittenAsJacksonDoes() {
        let text = "é\u{2028}/\"\\\u{8}\u{c}\n\r\t\u{1f}\u{7f}😀\u{10FFFF}\u{FFFF}"
        let json =
            #""é"# + "\u{2028}" + #"/\"\\\b\f\n\r\t\u001F"# + "\u{7f}" + #"\uD83D\uDE00\uDBFF\uDFFF"# + "\u{FFFF}\""
        #expect(Self.write(Case(25, text, json)) == json)
    }

    @Test func everyTextComesBack() throws {
        var random = Seeded(#function)
        let special: [Unicode.Scalar] = ["\"", "\\", "\n", "\u{1}", "é", "日", "😀", "a", "b", " ", "\u{7f}", "\u{80}"]
        for _ in 0..<300 {
            var text = ""
            for _ in 0..<Int.random(in: 0..<60, using: &random) {
                if Bool.random(using: &random), let scalar = special.randomElement(using: &random) {
                    text.unicodeScalars.append(scalar)
                } else if let scalar = Unicode.Scalar(UInt32.random(in: 1..<0x11_0000, using: &random)) {
                    text.unicodeScalars.append(scalar)
                }
            }
            let json = try #require(Self.write(Case(25, text, nil)))
            let decoded = try JSONDecoder().decode([String].self, from: Data("[\(json)]".utf8))
            #expect(decoded[0].unicodeScalars.elementsEqual(text.unicodeScalars))
        }
    }

    @Test func everyInvalidUTF8IsRefused() {
        let invalid: [[UInt8]] = [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xFF],
            [0xC3, 0x28],
            [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28], [0xF0, 0x9F, 0x28, 0x80],
        ]
        for bytes in invalid {
            for prefix in ["", "1234567", "12345678", "é"] {
                let session = Session()
                let outputs = EncoderTests.feed(
                    session,
                    [
                        Build.begin(1), Build.relation(Build.table()),
                        Build.insert(100, [.text("1"), .bytes(Array(prefix.utf8) + bytes), .null]),
                    ])
                #expect(outputs.isEmpty && session.errors.count == 1, "\(bytes)")
            }
        }
    }
}
