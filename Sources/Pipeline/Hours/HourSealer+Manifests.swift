import Dates
import ObjectStorage

/// One hour's manifest.
extension HourSealer {
    /// Why an hour is sealed.
    enum Occasion {
        /// It is the next one.
        case inTurn
        /// An object was put for it that came late.
        case late
        /// The same, or it is looked at to be sure, where the first manifest may be another's to put.
        case again
    }

    /// Puts a manifest that names every object of an hour, unless there is one.
    /// - Returns: false where none is there, and nothing was done since one may yet come (`again`).
    @discardableResult
    func seal(
        _ hour: SourceHour, of name: String, _ ledger: HourLedger, _ occasion: Occasion = .inTurn
    ) throws(StorageError) -> Bool {
        // Another worker may put one meanwhile, or ours may have arrived: then it is looked at again.
        var unknown: StorageError?
        for _ in 0..<3 {
            let found = try ledger.hour(hour, of: name)
            try board.witness.check(name, in: ledger.store)
            if occasion != .inTurn, found.revision == 0 {
                // Nothing is said of hours without a row before the first one.
                if found.keys.isEmpty {
                    guard occasion == .late, let first = try ledger.firstHour(of: name), first < hour else {
                        return true
                    }
                }
                // Where a later hour is sealed, nobody comes to this one any more: it is before the first that was.
                if occasion == .again, try !ledger.isSealed(after: hour, of: name) { return false }
            }
            if found.revision > 0, let there = try ledger.manifest(name, hour, revision: found.revision) {
                let gone = there.keys.subtracting(found.keys)
                if !gone.isEmpty { loses(gone, of: name, hour) }
                // A revision that does not name them would hide the loss.
                if !gone.isEmpty || there.keys.isSuperset(of: found.keys) { return true }
            }
            let manifest = HourManifest(
                topic: name, hour: hour, revision: found.revision + 1, clock: clock.time,
                entries: try ledger.entries(found.keys, of: name))
            let key = HourManifest.key(topic: name, hour: hour, revision: manifest.revision)
            if settings.conditional == .off, try ledger.store.head(key) != nil { continue }
            do throws(StorageError) {
                let result = try ledger.store.put(
                    key, body: .bytes(Array(manifest.json.utf8)),
                    condition: settings.conditional == .off ? .none : .ifAbsent)
                guard case .created = result else { continue }
            } catch {
                guard error.kind == .indefinite else { throw error }
                unknown = error
                continue
            }
            try board.witness.check(name, in: ledger.store)
            services.log.info(
                manifest.revision == 1 ? "an hour is sealed" : "an hour is sealed again: rows came late",
                [
                    "topic": .init(name), "hour": .init(ISOTime.text(microseconds: hour.start)),
                    "objects": .init(found.keys.count), "revision": .init(manifest.revision),
                ])
            return true
        }
        throw unknown
            ?? StorageError(
                .transient, "put", key: HourManifest.prefix(topic: name, hour: hour),
                "others put manifests at the same time")
    }

    private func loses(_ keys: Set<String>, of name: String, _ hour: SourceHour) {
        services.state.failed("hours", kind: "objects-gone")
        services.log.error(
            "objects of a sealed hour are gone from the store: the hour is not sealed again",
            [
                "topic": .init(name), "hour": .init(ISOTime.text(microseconds: hour.start)),
                "objects": .init(keys.count), "first": .init(keys.min() ?? ""),
            ])
    }
}
