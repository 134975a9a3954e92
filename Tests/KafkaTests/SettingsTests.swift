import Testing

@testable import Kafka

@Suite struct SettingsTests {
    private func refusal(_ properties: [String: String]) -> KafkaSettings.Refusal? {
        do throws(KafkaSettings.Refusal) {
            _ = try KafkaSettings(brokers: "127.0.0.1:1", clientID: "test", properties: properties)
            return nil
        } catch { return error }
    }

    @Test func takesWhatLibrdkafkaTakes() {
        #expect(refusal(["security.protocol": "SASL_SSL", "sasl.username": "a", "sasl.password": "b"]) == nil)
        #expect(refusal(["compression.type": "zstd", "linger.ms": "20"]) == nil)
    }

    @Test func namesTheUnknownProperty() {
        #expect(refusal(["no.such.property": "1"])?.property == "no.such.property")
        #expect(refusal(["linger.ms": "soon"])?.property == "linger.ms")
        #expect(refusal(["log_cb": "1"])?.property == "log_cb")
    }

    @Test(arguments: [
        "transactional.id", "enable.idempotence", "acks", "request.required.acks", "isolation.level", "group.id",
        "enable.auto.commit", "partitioner", "bootstrap.servers", "auto.offset.reset", "plugin.library.paths",
        "log_level",
    ])
    func refusesWhatItOwns(_ property: String) throws {
        let reason = try #require(KafkaSettings.owned[property])
        #expect(refusal([property: "1"]) == KafkaSettings.Refusal(property: property, reason: reason))
    }

    @Test func aMemberOfAGroupIsMissedSoonUnlessTheUserSaysWhen() throws {
        func defaults(_ properties: [String: String]) throws -> [String: String] {
            let settings = try KafkaSettings(brokers: "127.0.0.1:1", clientID: "a", properties: properties)
            return Dictionary(uniqueKeysWithValues: GroupConsumer.defaults(under: settings).map { ($0.name, $0.value) })
        }
        #expect(try defaults([:])["session.timeout.ms"] == "10000")
        #expect(try defaults([:])["max.poll.interval.ms"] == "60000")
        #expect(try defaults(["max.poll.interval.ms": "9000"])["max.poll.interval.ms"] == nil)
        // librdkafka refuses a session that is longer than the poll interval.
        let long = try KafkaSettings(brokers: "127.0.0.1:1", clientID: "a", properties: ["session.timeout.ms": "90000"])
        _ = try GroupConsumer(long, group: "g", topics: ["t"]).close(timeout: .zero)
    }

    @Test func neverShowsASecret() throws {
        let secret = "hunter2-öäü"
        for property in ["ssl.key.pem", "sasl.oauthbearer.client.secret", "ssl.key.password"] {
            #expect(KafkaSettings.isSecret(property))
            #expect(refusal([property: secret])?.description.contains(secret) != true)
        }
        // A secret that librdkafka refuses, in a property that holds one of a few words.
        let refused = try #require(refusal(["sasl.oauthbearer.method": secret]))
        #expect(!refused.description.contains(secret))
    }

    @Test func refusesNoBrokers() {
        #expect(throws: KafkaSettings.Refusal.self) { try KafkaSettings(brokers: "", clientID: "a") }
    }

    /// What we set ourselves must not contradict what the user sets.
    @Test func aLongerPauseBetweenAttemptsIsTaken() throws {
        for properties in [
            ["reconnect.backoff.ms": "2000"], ["reconnect.backoff.ms": "2000", "reconnect.backoff.max.ms": "9000"],
        ] {
            let settings = try KafkaSettings(brokers: "127.0.0.1:1", clientID: "a", properties: properties)
            _ = try TransactionalProducer(
                settings, ProducerOptions(transactionalID: "t", transactionTimeout: .seconds(60)))
        }
    }

    @Test func contradictingSettingsAreTheClientsError() throws {
        let settings = try KafkaSettings(
            brokers: "127.0.0.1:1", clientID: "a", properties: ["linger.ms": "50000"])
        let options = ProducerOptions(transactionalID: "t", transactionTimeout: .seconds(5))
        let error = failure { _ = try TransactionalProducer(settings, options) }
        #expect(error?.disposition == .permanent)
    }

    @Test func millisecondsRoundUpAndSaturate() {
        #expect(Duration.microseconds(1).milliseconds == 1)
        #expect(Duration.milliseconds(5).milliseconds == 5)
        #expect(Duration.seconds(-1).milliseconds == 0)
        #expect(Duration.seconds(9_000_000_000).milliseconds == 2_000_000_000)
    }

    /// Values of Java's `Utils.toPositive(Utils.murmur2(key)) % partitions`, from Kafka's own test vectors.
    @Test(arguments: [
        ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
    ])
    func partitionsAsJavaDoes(_ key: String, _ hash: Int) {
        let bytes = Array(key.utf8)
        let positive = Int32(truncatingIfNeeded: hash) & 0x7fff_ffff
        for partitions: Int32 in [1, 2, 7, 12, 100] {
            #expect(murmur2Partition(ofKey: bytes.span, partitions: partitions) == positive % partitions)
        }
    }
}

@Test func libraryVersionIsTold() { #expect(kafkaLibraryVersion.split(separator: ".").count >= 3) }
