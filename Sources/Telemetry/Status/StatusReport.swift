/// A status document as text for a terminal.
public struct StatusReport {
    private let document: StatusDocument
    private let isColoured: Bool
    private var lines: [String] = []

    /// The whole report, each line ended. `isColoured` for a terminal; plain in a pipe.
    public static func text(_ document: StatusDocument, isColoured: Bool) -> String {
        var report = StatusReport(document: document, isColoured: isColoured)
        report.write()
        return report.lines.joined(separator: "\n") + "\n"
    }

    private init(document: StatusDocument, isColoured: Bool) {
        self.document = document
        self.isColoured = isColoured
    }

    private mutating func write() {
        let colour =
            switch document.health {
            case .good: "1;32"
            case .waiting: "1;33"
            case .failed: "1;31"
            }
        let state = paint(Self.clean(document.state), colour)
        lines.append(
            "\(paint(Self.clean(document.name), "1"))  \(state)  sluice \(Self.clean(document.version)), up \(Self.span(document.uptimeSeconds))"
        )
        if let detail = document.detail { lines.append(Self.clean(detail)) }
        if let source = document.source { write(source) }
        if let kafka = document.kafka { write(kafka) }
        if !document.tables.isEmpty {
            table(
                "Tables", ["table", "topic", "inserts", "updates", "deletes", "truncates"], left: 2,
                document.tables.map {
                    [$0.table, $0.topic, "\($0.inserts)", "\($0.updates)", "\($0.deletes)", "\($0.truncates)"]
                })
        }
        if let sink = document.sink { write(sink) }
        if !document.gaps.isEmpty {
            table(
                "Gaps", ["kind", "from", "to", "accepted"], left: 4,
                document.gaps.map { [$0.kind, $0.fromLSN, $0.toLSN, $0.acceptedAt ?? "no"] })
        }
        if !document.errors.isEmpty {
            table(
                "Errors", ["class", "count"], left: 1, document.errors.map { [$0.kind, "\($0.count)"] })
        }
    }

    private mutating func write(_ source: StatusDocument.Source) {
        func lag(_ bytes: Int64?) -> String { bytes.map(Self.bytes) ?? "-" }
        let steps: [(String, String?, Int64?)] = [
            ("server", source.serverLSN, source.serverLSN == nil ? nil : 0),
            ("received", source.receivedLSN, source.receivedLagBytes),
            ("stored in Kafka", source.storedLSN, source.storedLagBytes),
            ("confirmed", source.confirmedLSN, source.confirmedLagBytes),
            ("restart", source.restartLSN, source.restartLagBytes),
        ]
        table(
            "WAL" + (source.slot.map { ", slot \($0)" } ?? ""), ["step", "lsn", "behind"], left: 2,
            steps.map { [$0.0, $0.1 ?? "-", lag($0.2)] })
        var facts: [String] = []
        if let seconds = source.lagSeconds { facts.append("lag \(Self.span(seconds))") }
        if let retained = source.retainedWALBytes { facts.append("WAL kept \(Self.bytes(retained))") }
        if let safe = source.safeWALBytes { facts.append("safe for another \(Self.bytes(safe))") }
        if !facts.isEmpty { lines.append("  " + facts.joined(separator: ", ")) }
        if let replay = source.replayLSN {
            let time = source.replayTime.map { " (commits after \(Self.clean($0)))" } ?? ""
            lines.append("  can be replayed from \(Self.clean(replay))\(time)")
        }
    }

    private mutating func write(_ kafka: StatusDocument.Kafka) {
        heading("Kafka")
        var facts = ["\(kafka.rows) rows in \(kafka.transactions) transactions"]
        if let commit = kafka.lastCommitMilliseconds { facts.append("last commit \(Self.short(commit)) ms") }
        facts.append("\(Self.bytes(kafka.bufferedBytes)) buffered")
        if let count = kafka.deadLetters { facts.append(paint("\(count) dead letters", "1;31")) }
        lines.append("  " + facts.joined(separator: ", "))
    }

    private mutating func write(_ sink: StatusDocument.Sink) {
        let summary = "  \(sink.objects) objects, \(Self.bytes(sink.bytes)), \(sink.dropped) records dropped"
        if sink.partitions.isEmpty {
            heading("Sink, \(Self.clean(sink.state))")
        } else {
            table(
                "Sink, \(sink.state)", ["topic", "hour", "partition", "written to", "behind", "open"], left: 2,
                sink.partitions.map {
                    [
                        $0.topic, $0.hour ?? "-", "\($0.partition)", $0.lastOffset.map { "\($0)" } ?? "-",
                        $0.lagRecords.map { "\($0)" } ?? "-", Self.bytes($0.openBytes),
                    ]
                })
        }
        if let detail = sink.detail { lines.append("  " + Self.clean(detail)) }
        lines.append(summary)
    }

    private mutating func heading(_ text: String) {
        lines += ["", paint(text, "1")]
    }

    /// A table: the first `left` columns to the left, the others, being numbers, to the right.
    private mutating func table(_ title: String, _ head: [String], left: Int, _ rows: [[String]]) {
        heading(Self.clean(title))
        let rows = rows.map { $0.map(Self.clean) }
        let widths = head.indices.map { column in ([head] + rows).map { $0[column].count }.max() ?? 0 }
        func line(_ cells: [String]) -> String {
            var text = " "
            for (column, cell) in cells.enumerated() {
                let space = String(repeating: " ", count: widths[column] - cell.count)
                text += " " + (column < left ? cell + space : space + cell) + " "
            }
            while text.last == " " { text.removeLast() }
            return text
        }
        lines.append(paint(line(head), "2"))
        lines += rows.map(line)
    }

    private func paint(_ text: String, _ code: String) -> String {
        isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }

    /// What another process sent must not move our terminal's cursor.
    static func clean(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) ? "?" : $0 }))
    }

    static func bytes(_ count: Int64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(count)
        var unit = 0
        while abs(value) >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(short(value)) \(units[unit])"
    }

    static func span(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
        if seconds < 1 { return "\(short(seconds * 1000)) ms" }
        if seconds < 120 { return "\(short(seconds)) s" }
        let minutes = Int(seconds / 60)
        if minutes < 120 { return "\(minutes) min" }
        let hours = minutes / 60
        return hours < 48 ? "\(hours) h \(minutes % 60) min" : "\(hours / 24) d \(hours % 24) h"
    }

    /// One digit behind the point below 100, none above.
    static func short(_ value: Double) -> String {
        guard value.isFinite else { return "?" }
        let rounded = abs(value) < 99.95 ? (value * 10).rounded() / 10 : value.rounded()
        return Int64(exactly: rounded).map { "\($0)" } ?? "\(rounded)"
    }
}
