import ChangeData
import Testing

struct TopicTests {
    @Test func templatesAndForbiddenCharacters() throws {
        let name = try topicName(
            template: "{name}.{schema}.{table}", name: "golden", schema: "Mixed Schema", table: "Odd Table")
        #expect(name == "golden.Mixed_Schema.Odd_Table")
        let original = try topicName(
            template: "postgres-{table}", name: "x", schema: "public", table: "dadostesouroipca_gold")
        #expect(original == "postgres-dadostesouroipca_gold")
        #expect(try topicName(template: "{table}", name: "x", schema: "s", table: "a/ç😀") == "a____")
        #expect(throws: TopicError.unknownPlaceholder("db")) {
            try topicName(template: "{db}.{table}", name: "x", schema: "s", table: "t")
        }
        for table in ["", ".", "..", String(repeating: "x", count: 250)] {
            #expect(throws: TopicError.self) {
                try topicName(template: "{table}", name: "x", schema: "s", table: table)
            }
        }
    }

    @Test func tablesMustNotShareATopic() throws {
        let first = TableName(schema: "public", name: "a_b")
        func format(_ template: String) -> EventFormat {
            EventFormat(name: "n", database: "d", version: "1", epoch: 1, topicTemplate: template)
        }
        try checkTopics(
            format("{name}.{schema}.{table}"), tables: [first, TableName(schema: "public", name: "a_c"), first])
        let pairs = [
            (TableName(schema: "public", name: "a.b"), "{name}.{schema}.{table}"),
            (TableName(schema: "public", name: "a b"), "{name}.{schema}.{table}"),
            (TableName(schema: "other", name: "a_b"), "{table}"),
        ]
        for (other, template) in pairs {
            #expect(throws: TopicError.self) { try checkTopics(format(template), tables: [first, other]) }
        }
        for (template, table) in [("{name}.{table}", "message"), ("{table}", "sluice_n_progress")] {
            #expect(throws: TopicError.self) {
                try checkTopics(format(template), tables: [TableName(schema: "s", name: table)])
            }
        }
    }

    @Test func encoderRefusesACollision() {
        let session = Session()
        func announce(_ oid: UInt32, _ name: String) {
            session.feed(Build.relation(Build.table(oid, name)))
            session.feed(Build.insert(oid, EncoderTests.row(1)))
        }
        session.feed(Build.begin(1000))
        announce(1, "a.b")
        announce(1, "a.b")
        // Dropped and made again: the same name under another OID is the same topic.
        announce(2, "a.b")
        #expect(session.errors.isEmpty)
        announce(3, "a_b")
        guard case .topic(.collision) = session.errors.first else {
            Issue.record("\(session.errors)")
            return
        }
        // A table that was renamed leaves its topic to others, before it has a row by its new name.
        session.feed(Build.relation(Build.table(2, "z")))
        announce(3, "a_b")
        #expect(session.errors.count == 1)
    }
}
