import ChangeData
import ObjectStorage
import Telemetry

/// Transactions that the server sends before their commit (protocol 2): kept, and published when it has come.
extension SourceLoop {
    /// Gives a message of protocol 2 to whom it is for.
    mutating func sort(_ message: Span<UInt8>, at lsn: LSN, wall: Int64) throws(SessionFailure) -> Bool {
        let taken: StreamedIntake.Taken
        do throws(StreamedIntake.Failure) {
            taken = try intake?.take(message, at: lsn) ?? .direct
        } catch {
            switch error {
            case .data(let error): throw .exit(exit(for: error))
            case .refused(let refusal): throw .fallBack(refusal, at: max(lsn, feedback.received))
            }
        }
        switch consume taken {
        case .direct: return try consume(message, at: lsn, wall: wall)
        case .kept(let isOver):
            if isOver { showIntake() }
            return true
        case .committed(let transaction):
            let commit = transaction.commit
            // Once for a large transaction, before anything of it is published.
            try askNext()
            if try tables.hasOrigins(settings: settings) {
                throw .fallBack(.origin(commit.xid), at: commit.endLSN)
            }
            services.log.debug(
                "a transaction that was streamed is committed",
                ["transaction": .init(Int(commit.xid)), "lsn": .init(commit.commitLSN)])
            replay = consume transaction
            return false
        }
    }

    /// Publishes what was kept of a committed transaction, until it is over, no chunk is free, or something else is due.
    mutating func publish() throws(SessionFailure) {
        guard var current = replay.take() else { return }
        var wall = services.clock.wall()
        let deadline = min(feedback.nextDeadline, services.clock.monotonic() &+ .milliseconds(200))
        var count = 0
        var progress = StreamedReplay.Progress.nothing
        while chunk != nil {
            do throws(StorageError) {
                progress = try current.advance()
            } catch {
                let refusal = StreamingRefusal(.disk(error), transaction: current.commit.xid)
                throw .fallBack(refusal, at: current.commit.endLSN)
            }
            if progress == .over { break }
            if progress == .message { _ = try consume(current.message, at: current.lsn, wall: wall) }
            count += 1
            if count & 63 == 0 || progress == .nothing {
                wall = services.clock.wall()
                if services.clock.monotonic() >= deadline { break }
            }
        }
        guard progress == .over else {
            replay = consume current
            return
        }
        let commit = current.commit
        services.log.debug(
            "its last change is handed on", ["transaction": .init(Int(commit.xid)), "lsn": .init(commit.commitLSN)])
        intake?.published(commit.xid, current.relations)
        showIntake(published: 1)
    }

    private func showIntake(published: UInt64 = 0) {
        let (bytes, open) =
            switch intake {
            case .some(let intake): (intake.bytes, intake.openCount)
            case .none: (0, 0)
            }
        services.state.update { snapshot in
            snapshot.intake.bytes = bytes
            snapshot.intake.open = open
            snapshot.intake.published += published
        }
    }
}
