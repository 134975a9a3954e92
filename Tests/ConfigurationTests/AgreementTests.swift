import ChangeData
import Glibc
import Kafka
import Testing

@testable import Configuration

/// What the configuration's checks say ahead is what the other modules do: neither side imports the other.
@Suite struct AgreementTests {
    /// The last word is module Kafka's: what it refuses is said with the rest of what is wrong, and in the reference.
    @Test func propertiesThatAreOursAreTheSameOnes() {
        let (here, there) = (Set(Configuration.ownedProperties.keys), Set(KafkaSettings.owned.keys))
        #expect(here.subtracting(there).isEmpty && there.subtracting(here).isEmpty)
        #expect(Configuration.ownedGroups.reduce(0) { $0 + $1.names.count } == here.count, "none stands twice")
        let page = Reference.markdown()
        for (name, reason) in Configuration.ownedProperties {
            #expect(problems(minimal("kafka", "client: { \(name): 1 }"))[0].contains("belongs to sluice: \(reason)"))
            #expect(page.contains("`\(name)`"))
        }
    }

    private func agree(_ template: String, name: String, schema: String, table: String) throws {
        let ours = try TopicTemplate(parsing: template).topic(name: name, schema: schema, table: table)
        let theirs = try? topicName(template: template, name: name, schema: schema, table: table)
        #expect(theirs == (TopicTemplate.hasNamesLength(ours) ? ours : nil), "\(template) \(schema).\(table)")
        #expect(TopicTemplate.collisionKey(ours) == collisionKey(ours))
    }

    @Test(arguments: [
        "gold", "Gold_1-x", "a.b", "a b", "preço", "prec\u{327}o", "\u{301}", "😀", "x😀😀", "👩‍👩‍👧", "🇧🇷", "\u{FFFF}",
        "\u{10000}",
        "\u{10FFFF}", "表", "العربية", "\u{0}", "\r\n", "\t", "\"", "a/b", "a\\b", "{name}", "{", "}", "*", "?", "", ".",
        "..", "_", "...",
        "ﬁ", "\u{FEFF}a", "Å", String(repeating: "x", count: 249), String(repeating: "x", count: 250),
        String(repeating: "😀", count: 124), String(repeating: "😀", count: 125),
    ])
    func oddNamesGiveTheSameTopic(_ odd: String) throws {
        for template in ["{table}", "{name}.{schema}.{table}", "postgres-{table}", "{schema}{table}"] {
            try agree(template, name: "n1", schema: odd, table: odd)
            try agree(template, name: "n1", schema: "public", table: odd)
        }
    }

    @Test func randomNamesGiveTheSameTopic() throws {
        let seed =
            getenv("SLUICE_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)
        print("randomNamesGiveTheSameTopic: SLUICE_TEST_SEED=\(seed)")
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var text = ""
            for _ in 0..<Int.random(in: 0..<12, using: &generator) {
                let bound: UInt32 = [0x80, 0x800, 0x1_0000, 0x11_0000].randomElement(using: &generator) ?? 0x80
                guard let scalar = Unicode.Scalar(UInt32.random(in: 0..<bound, using: &generator)) else { continue }
                text.unicodeScalars.append(scalar)
            }
            try agree("{schema}.{table}", name: "n", schema: text, table: text)
        }
    }
}
