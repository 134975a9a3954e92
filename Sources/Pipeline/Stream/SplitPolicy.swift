/// The bounds past which one PostgreSQL transaction is split over several Kafka transactions: its own rows and bytes, and the age of
/// the Kafka transaction that it is in.
package struct SplitPolicy: Equatable, Sendable {
    package var rows: Int
    package var bytes: Int
    /// Nanoseconds that a Kafka transaction may stay open.
    package var age: Int64

    package init(rows: Int, bytes: Int, age: Int64) {
        self.rows = rows
        self.bytes = bytes
        self.age = age
    }

    /// Whether the open batch, in the middle of a PostgreSQL transaction, must be committed as it is.
    package func mustSplit(_ batch: BatchPolicy.Batch, now: Int64) -> Bool {
        batch.openRows >= rows || batch.openBytes >= bytes || now &- batch.openedAt >= age
    }
}
