package import ChangeData
package import Postgres

/// What must be known before a stream may start; gathered by the shell, judged here.
package struct StartFacts: Equatable, Sendable {
    /// What `pg_replication_slots` says of our slot.
    package struct Slot: Equatable, Sendable {
        package var plugin: String
        package var database: String
        package var confirmedFlush: LSN
        package var restart: LSN?
        /// `reserved`, `extended`, `unreserved` or `lost`.
        package var walStatus: String
        /// Why the server invalidated it, where it says so (16 and later).
        package var invalidation: String?
        /// The walsender that has it, if one has.
        package var holder: Walsender?
        /// Whether prepared transactions are decoded before they are committed.
        package var isTwoPhase = false

        package init(
            plugin: String, database: String, confirmedFlush: LSN, restart: LSN?, walStatus: String,
            invalidation: String?, holder: Walsender?
        ) {
            self.plugin = plugin
            self.database = database
            self.confirmedFlush = confirmedFlush
            self.restart = restart
            self.walStatus = walStatus
            self.invalidation = invalidation
            self.holder = holder
        }
    }

    package var slotName: String
    package var database: String
    package var systemID: String
    package var timeline: UInt32
    /// The end of each older timeline that this server's history names.
    package var history: [UInt32: LSN]
    /// The end of the server's WAL.
    package var walEnd: LSN
    /// Whether it is a standby: what it has not replayed yet it may still get.
    package var isInRecovery = false
    /// Nil where there is no slot of that name.
    package var slot: Slot?
    package var options: String
    /// The publication's name; nil where there is no such publication.
    package var publication: String?
    /// Its OID; 0 where it is not known.
    package var publicationOID: UInt32 = 0
    /// It and its tables; nil where there is none.
    package var published: Publication?
    /// What is wrong with the publication, of the tables that exist and that the configuration names one by one.
    package var faults: [PublicationFault]
    /// Tables that the configuration names one by one and that do not exist.
    package var missing: [String] = []
    /// Tables that the publication names and the configuration does not want.
    package var strangers: [String] = []
    /// The server's clock, microseconds since 1970.
    package var clock: Int64

    package init(
        slotName: String, database: String, systemID: String, timeline: UInt32, history: [UInt32: LSN], walEnd: LSN,
        slot: Slot?, options: String, publication: String?, faults: [PublicationFault] = [], clock: Int64 = 0
    ) {
        self.slotName = slotName
        self.database = database
        self.systemID = systemID
        self.timeline = timeline
        self.history = history
        self.walEnd = walEnd
        self.slot = slot
        self.options = options
        self.publication = publication
        self.faults = faults
        self.clock = clock
    }
}
