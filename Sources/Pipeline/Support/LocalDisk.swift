/// A folder on local disk, and how many bytes something may take there.
package struct LocalDisk: Sendable {
    package var directory: String
    package var bytes: Int

    package init(directory: String, bytes: Int) {
        self.directory = directory
        self.bytes = bytes
    }
}
