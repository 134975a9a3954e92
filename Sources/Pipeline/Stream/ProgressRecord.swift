import ChangeData
import Telemetry

/// The value of the progress topic's record: JSON of version 1, in the field order of the design.
package enum ProgressRecord {
    package static func encode(_ position: StoredPosition) -> String {
        var fields = [
            "\"v\":1", text("system_id", position.systemID), "\"timeline\":\(position.timeline)",
            text("slot", position.slot), "\"epoch\":\(position.epoch)", text("lsn", position.lsn.description),
            text("commit_lsn", position.commitLSN.description), "\"ordinal\":\(position.ordinal)",
            text("commit_ts", ISOTime.text(microseconds: position.commitTime)), text("options", position.options),
            text("state", position.state.rawValue),
        ]
        if position.clock > 0 { fields.append(text("clock", ISOTime.text(microseconds: position.clock))) }
        if let publication = position.publication { fields.append("\"publication\":\(publication)") }
        if let mark = position.mark { fields.append("\"published\":[\(mark.newest),\(mark.restrictions)]") }
        if let cluster = position.cluster { fields.append(text("kafka", cluster)) }
        if position.splitPart > 0 { fields.append("\"split\":\(position.splitPart)") }
        if let usual = position.partitions.usual {
            var pins = ["\"*\":\(usual)"]
            for (topic, count) in position.partitions.others.sorted(by: { $0.key < $1.key }) {
                pins.append(quoted(topic) + ":\(count)")
            }
            fields.append("\"partitions\":{" + pins.joined(separator: ",") + "}")
        }
        if !position.gaps.isEmpty {
            let gaps = position.gaps.map { gap in
                "{" + text("kind", gap.kind) + "," + text("from", gap.from.description) + ","
                    + text("to", gap.to.description) + ",\"epoch\":\(gap.epoch),"
                    + text("accepted_at", ISOTime.text(microseconds: gap.acceptedAt)) + "}"
            }
            fields.append("\"gaps\":[" + gaps.joined(separator: ",") + "]")
        }
        if !position.marks.isEmpty {
            let marks = position.marks.map { mark in
                "{" + text("lsn", mark.lsn.description) + "," + text("at", ISOTime.text(microseconds: mark.time)) + "}"
            }
            fields.append("\"window\":[" + marks.joined(separator: ",") + "]")
        }
        if let replay = position.replay {
            fields.append(
                "\"replay\":{" + text("from", replay.from.description) + "," + text("to", replay.to.description) + "}")
        }
        return "{" + fields.joined(separator: ",") + "}"
    }

    /// A JSON string.
    static func quoted(_ value: String) -> String {
        var buffer = ByteBuffer(capacity: value.utf8.count + 2)
        // A String of Swift is valid UTF-8: the failure of bytes that are not cannot occur.
        try? buffer.append(jsonString: Array(value.utf8).span)
        return buffer.withSpan { bytes in String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self) }
    }

    private static func text(_ key: String, _ value: String) -> String {
        "\"\(key)\":" + quoted(value)
    }
}

extension ProgressRecord {
    /// Reads what `encode` wrote; nil for anything else, also of a newer version. Unknown fields are passed over.
    package static func decode(_ bytes: [UInt8]) -> StoredPosition? {
        guard let root = JSONValue(parsing: bytes), root["v"]?.integer == 1,
            let systemID = root["system_id"]?.string,
            let timeline = root["timeline"]?.integer.flatMap({ UInt32(exactly: $0) }),
            let slot = root["slot"]?.string, let epoch = root["epoch"]?.integer.flatMap({ UInt32(exactly: $0) }),
            let lsn = root["lsn"]?.string.flatMap({ LSN($0) }),
            let commitLSN = root["commit_lsn"]?.string.flatMap({ LSN($0) }),
            let ordinal = root["ordinal"]?.integer.flatMap({ UInt64(exactly: $0) }),
            let commitTime = root["commit_ts"]?.string.flatMap({ ISOTime.microseconds($0) }),
            let options = root["options"]?.string,
            let state = root["state"]?.string.flatMap({ StoredPosition.State(rawValue: $0) })
        else { return nil }
        var gaps: [StoredPosition.AcceptedGap] = []
        for gap in root["gaps"]?.array ?? [] {
            guard let kind = gap["kind"]?.string, let from = gap["from"]?.string.flatMap({ LSN($0) }),
                let to = gap["to"]?.string.flatMap({ LSN($0) }),
                let epoch = gap["epoch"]?.integer.flatMap({ UInt32(exactly: $0) }),
                let acceptedAt = gap["accepted_at"]?.string.flatMap({ ISOTime.microseconds($0) })
            else { return nil }
            gaps.append(.init(kind: kind, from: from, to: to, epoch: epoch, acceptedAt: acceptedAt))
        }
        var marks: [ReplayWindow.Mark] = []
        for mark in root["window"]?.array ?? [] {
            guard let lsn = mark["lsn"]?.string.flatMap({ LSN($0) }),
                let time = mark["at"]?.string.flatMap({ ISOTime.microseconds($0) })
            else { return nil }
            marks.append(.init(lsn: lsn, time: time))
        }
        var replay: ReplayRange?
        if let range = root["replay"] {
            guard let from = range["from"]?.string.flatMap({ LSN($0) }),
                let to = range["to"]?.string.flatMap({ LSN($0) })
            else { return nil }
            replay = ReplayRange(from: from, to: to)
        }
        var position = StoredPosition(
            systemID: systemID, timeline: timeline, slot: slot, epoch: epoch, lsn: lsn, commitLSN: commitLSN,
            ordinal: ordinal, splitPart: root["split"]?.integer.map { Int($0) } ?? 0, commitTime: commitTime,
            options: options, state: state, gaps: gaps, marks: marks, replay: replay)
        for (topic, count) in root["partitions"]?.object ?? [] {
            guard let count = count.integer.flatMap({ Int32(exactly: $0) }) else { return nil }
            if topic == "*" { position.partitions.usual = count } else { position.partitions.others[topic] = count }
        }
        position.clock = root["clock"]?.string.flatMap { ISOTime.microseconds($0) } ?? 0
        position.publication = root["publication"]?.integer.flatMap { UInt32(exactly: $0) }
        position.cluster = root["kafka"]?.string
        if let mark = root["published"]?.array?.compactMap({ $0.integer.flatMap { UInt32(exactly: $0) } }),
            mark.count == 2
        {
            position.mark = PublicationMark(newest: mark[0], restrictions: mark[1])
        }
        return position
    }
}
