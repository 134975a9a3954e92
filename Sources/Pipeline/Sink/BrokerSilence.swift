/// When brokers are asked whether they are there at all, and when a client that gets no answer is given up.
///
/// A quiet topic and brokers that cannot be reached look the same to a consumer. Its client tries for ever, with the certificates and
/// the password that it was made with; the next one reads them anew.
package struct BrokerSilence: Equatable {
    package enum Action: Equatable {
        case none
        case ask
        /// Nothing has come and no question was answered for so long that a new client is made.
        case giveUp
    }

    /// Nanoseconds without a sign after which they are asked.
    package static let quiet: Int64 = .seconds(60)
    /// Nanoseconds between two questions that got no answer.
    package static let again: Int64 = .seconds(10)
    /// Nanoseconds without a sign after which the client is given up.
    package static let most: Int64 = .seconds(300)

    private var heardAt: Int64
    private var nextQuestion: Int64

    package init(now: Int64) {
        heardAt = now
        nextQuestion = now &+ Self.quiet
    }

    /// A record, an event or an answer has come.
    package mutating func heard(now: Int64) {
        heardAt = now
        nextQuestion = now &+ Self.quiet
    }

    /// A question got no answer.
    package mutating func failed(now: Int64) { nextQuestion = now &+ Self.again }

    package func action(now: Int64) -> Action {
        guard now >= nextQuestion else { return .none }
        return now &- heardAt >= Self.most ? .giveUp : .ask
    }
}
