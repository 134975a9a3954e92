/// Counts connections that were lost, by what librdkafka logs: there is no call that tells.
///
/// A line of facility `FAIL` names the broker's thread, and the state in which the connection was. One that could not be made
/// was lost before, and is not counted again, as often as it is tried; but within 30 s librdkafka does not repeat what it said
/// last of a broker, so that the first attempt that fails after a loss may stand for another loss.
struct ConnectionLosses {
    private(set) var count = 0
    /// Threads whose last failure was an attempt to connect.
    private var refused: Set<Substring> = []

    mutating func failed(_ line: String) {
        let thread = line.prefix { $0 != "]" }
        if line.contains("in state CONNECT") || line.contains("in state TRY_CONNECT") {
            guard refused.insert(thread).inserted else { return }
        } else {
            refused.remove(thread)
        }
        count += 1
    }
}
