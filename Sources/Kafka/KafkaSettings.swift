internal import CKafka

/// Where the brokers are and how to speak to them: what all clients of one program share. Every property has been put to
/// librdkafka once, so a client made from it fails for reasons of the network only, or for two properties that contradict.
public struct KafkaSettings: Sendable {
    /// A property that cannot be used, and why. Never holds the value of a secret.
    public struct Refusal: Error, Sendable, Hashable, CustomStringConvertible {
        /// The property's name as the user wrote it.
        public let property: String
        /// Why it cannot be used.
        public let reason: String
        /// One line.
        public var description: String { "\(property): \(reason)" }
    }

    /// `host:port`, separated by commas.
    public let brokers: String
    /// The name in the brokers' logs and quotas.
    public let clientID: String
    /// The user's own properties, in librdkafka's names.
    let properties: [(name: String, value: String)]
    /// Those of them whose values may have changed since, asked for by each new client: a password in a file.
    public var renewed: (@Sendable () -> [String: String])?

    /// Checks every property's name and value. Throws the first refusal, in the order of the names.
    public init(brokers: String, clientID: String, properties: [String: String] = [:]) throws(Refusal) {
        guard !brokers.isEmpty else { throw Refusal(property: "bootstrap.servers", reason: "no broker is named") }
        self.brokers = brokers
        self.clientID = clientID
        self.properties = properties.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        let configuration = ClientConfiguration()
        try configuration.set("bootstrap.servers", brokers)
        try configuration.set("client.id", clientID)
        for property in self.properties {
            if let reason = Self.owned[property.name] {
                throw Refusal(property: property.name, reason: reason)
            }
            if property.name.hasSuffix("_cb") {
                throw Refusal(property: property.name, reason: "a function cannot be given in a configuration")
            }
            try configuration.set(property.name, property.value)
        }
    }

    /// Whether the value of a property must never be shown.
    public static func isSecret(_ property: String) -> Bool {
        ["password", "secret", ".pem", "oauthbearer", "token", "assertion", "sasl.jaas"].contains {
            property.contains($0)
        }
    }

    /// Whether the user has set one of these names, which are the same property.
    func sets(_ names: String...) -> Bool {
        properties.contains { property in names.contains(property.name) }
    }

    /// What the user has set it to.
    func value(of name: String) -> String? { properties.first { $0.name == name }?.value }

    /// A property that was checked when the settings were made.
    func apply(to configuration: borrowing ClientConfiguration) throws(Refusal) {
        try configuration.set("bootstrap.servers", brokers)
        try configuration.set("client.id", clientID)
        // After an outage the default waits up to 10 s between two attempts; a stream should flow again at once.
        // Not below what the user may have made the least.
        let least = value(of: "reconnect.backoff.ms").flatMap { Int($0) } ?? 0
        try configuration.set("reconnect.backoff.max.ms", String(max(1000, least)))
        try configuration.set("allow.auto.create.topics", "false")
        let renewed = renewed?() ?? [:]
        for property in properties {
            try configuration.set(property.name, renewed[property.name] ?? property.value)
        }
    }
}
