package import ChangeData

/// How the records of a stream are spelled: what of the configuration changes the bytes of keys and values. A row whose key was
/// written in another spelling is two rows to whoever reads the topic: so a change is refused, not followed.
package struct FormatPin: Equatable, Sendable {
    /// The value of each key under `events`.
    package let settings: [(key: String, value: String)]

    package init(_ format: EventFormat) {
        settings = [
            ("envelope", format.envelope == .debezium ? "debezium" : "flat"),
            ("numeric", format.numeric == .string ? "string" : "number"),
            ("timestamps", format.timestamps == .iso ? "iso" : "epoch"),
            ("json", format.json == .text ? "text" : "inline"),
        ]
    }

    /// As the progress record has it: `envelope=debezium numeric=string timestamps=iso json=text`.
    package init?(_ text: String) {
        var settings: [(key: String, value: String)] = []
        for part in text.split(separator: " ") {
            let pair = part.split(separator: "=", omittingEmptySubsequences: false)
            guard pair.count == 2 else { return nil }
            settings.append((String(pair[0]), String(pair[1])))
        }
        self.settings = settings
    }

    package var text: String { settings.map { "\($0.key)=\($0.value)" }.joined(separator: " ") }

    package static func == (one: FormatPin, other: FormatPin) -> Bool { one.text == other.text }

    /// What is spelled otherwise by `other`. A key that one of the two does not know is none.
    func changes(to other: FormatPin) -> [(key: String, before: String, now: String)] {
        settings.compactMap { key, before in
            guard let now = other.settings.first(where: { $0.key == key })?.value, now != before else { return nil }
            return (key, before, now)
        }
    }

    /// What may be done about a change, as commands.
    static func cures(_ changes: [(key: String, before: String, now: String)]) -> [String] {
        [
            "set " + changes.map { "events.\($0.key): \($0.before)" }.joined(separator: ", "),
            "choose another name, which makes a new stream with topics of its own",
            "sluice init --accept-gap (accepts the new spelling in the same topics; stop the agent first)",
        ]
    }
}

extension StoredPosition {
    /// How records would be spelled otherwise than before by `format`, each a text; none where an older sluice wrote the record.
    func respelled(by format: EventFormat) -> (texts: [String], cures: [String])? {
        let changes = self.format?.changes(to: FormatPin(format)) ?? []
        guard !changes.isEmpty else { return nil }
        return (
            changes.map { "events.\($0.key) is \($0.now), the topics were written with \($0.before)" },
            FormatPin.cures(changes)
        )
    }

    /// Exit 78, where `format` spells otherwise.
    func refusal(of format: EventFormat) -> AgentExit? {
        respelled(by: format).map { texts, cures in
            AgentExit(
                .configuration, "the format of events has changed: keys and values would be spelled in two ways",
                details: texts, hints: cures)
        }
    }
}
