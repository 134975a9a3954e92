import ChangeData
import Dates
import Telemetry

/// The value of the progress topic's record: JSON of version 1, in the field order of the design.
package enum ProgressRecord {
    package static func encode(_ position: StoredPosition) -> String {
        var json = JSONText(escaping: .connect)
        json.object { record in
            record.member("v", 1)
            record.member("system_id", position.systemID)
            record.member("timeline", position.timeline)
            record.member("slot", position.slot)
            record.member("epoch", position.epoch)
            record.member("lsn", position.lsn.description)
            record.member("commit_lsn", position.commitLSN.description)
            record.member("ordinal", position.ordinal)
            record.member("commit_ts", ISOTime.text(microseconds: position.commitTime))
            record.member("options", position.options)
            record.member("state", position.state.rawValue)
            writeOptional(position, to: &record)
        }
        return json.text
    }

    /// What a position may lack: an older sluice knew nothing of it, or there is none.
    private static func writeOptional(_ position: StoredPosition, to record: inout JSONText) {
        if position.clock > 0 { record.member("clock", ISOTime.text(microseconds: position.clock)) }
        if let publication = position.publication { record.member("publication", publication) }
        if let mark = position.mark {
            record.name("published")
            record.array { array in
                array.value(.integer(Int64(mark.newest)))
                array.value(.integer(Int64(mark.restrictions)))
                if let altered = mark.altered { array.value(.integer(Int64(altered))) }
            }
        }
        if let messages = position.messages { record.member("messages", messages.description) }
        if let format = position.format { record.member("format", format.text) }
        if let cluster = position.cluster { record.member("kafka", cluster) }
        if position.splitPart > 0 { record.member("split", position.splitPart) }
        if let usual = position.partitions.usual {
            record.object("partitions") { pins in
                pins.member("*", usual)
                for (topic, count) in position.partitions.others.sorted(by: { $0.key < $1.key }) {
                    pins.member(topic, count)
                }
            }
        }
        if !position.gaps.isEmpty {
            record.objects("gaps", of: position.gaps) { json, gap in
                json.member("kind", gap.kind)
                json.member("from", gap.from.description)
                json.member("to", gap.to.description)
                json.member("epoch", gap.epoch)
                json.member("accepted_at", ISOTime.text(microseconds: gap.acceptedAt))
            }
        }
        if !position.marks.isEmpty {
            record.objects("window", of: position.marks) { json, mark in
                json.member("lsn", mark.lsn.description)
                json.member("at", ISOTime.text(microseconds: mark.time))
            }
        }
        if let replay = position.replay {
            record.object("replay") { range in
                range.member("from", replay.from.description)
                range.member("to", replay.to.description)
            }
        }
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
        position.format = root["format"]?.string.flatMap { FormatPin($0) }
        position.messages = root["messages"]?.string.flatMap { LSN($0) }
        if let mark = root["published"]?.array?.compactMap({ $0.integer.flatMap { UInt32(exactly: $0) } }),
            (2...3).contains(mark.count)
        {
            position.mark = PublicationMark(
                newest: mark[0], restrictions: mark[1], altered: mark.count > 2 ? mark[2] : nil)
        }
        return position
    }
}
