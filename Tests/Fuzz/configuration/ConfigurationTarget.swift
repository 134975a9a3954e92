// Fuzz target: a configuration file, through libyaml, to checked values or to problems. Compiled together with the
// sources of `Configuration` by `ops/fuzz`. An input is the file.

/// What the file of a secret holds: no problem may say it, whatever the configuration.
private let secret = "geheim/7Zq-of-a-file"

private let environment = [
    "PGPASSWORD": "x", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1",
    "NAME": "tesouro",
    "TABLES": "public.*_gold",
]

/// Called by libFuzzer for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    for purpose in Configuration.Purpose.allCases {
        do throws(ConfigurationProblems) {
            let read = try Configuration.parse(
                bytes, file: "f", environment: environment, purpose: purpose,
                readFile: purpose == .status ? readNothing : readFile)
            check(read, purpose)
        } catch {
            check(error, count)
        }
    }
    return 0
}

@Sendable private func readFile(_ path: String) throws(FileProblem) -> [UInt8] {
    if path.utf8.count > 40 { throw FileProblem("no such file") }
    return Array((secret + "\n").utf8)
}

/// `status` may be asked by who may read no secret.
@Sendable private func readNothing(_ path: String) throws(FileProblem) -> [UInt8] {
    preconditionFailure("a file is read for status")
}

/// What stands in the comments of `Configuration`.
private func check(_ read: Configuration, _ purpose: Configuration.Purpose) {
    precondition(
        Configuration.isSlotName(read.name, atMost: 56) && Configuration.isSlotName(read.postgres.slot, atMost: 63))
    precondition(!read.kafka.brokers.isEmpty && read.kafka.partitions >= 1)
    let runsSink = purpose == .both || purpose == .sink
    precondition(read.s3 != nil || !runsSink, "no store")
    precondition(
        read.s3?.credentials == nil || purpose != .status && purpose != .stream, "a secret is read for who needs none")
    precondition(read.s3?.kmsKeyID == nil || read.s3?.encryption == .kms, "a key for nothing")
    precondition(read.limits.memory >= 16 << 20 && read.limits.spool >= 1 << 20)
    precondition(read.limits.startTimeout >= .zero && read.limits.stopTimeout >= .zero)
}

private func check(_ problems: ConfigurationProblems, _ count: Int) {
    precondition(!problems.problems.isEmpty)
    for problem in problems.problems {
        precondition(!problem.message.isEmpty)
        if let place = problem.location {
            precondition(
                (1...count + 1).contains(place.line) && (1...count + 1).contains(place.column),
                "a place outside of the file")
        }
    }
    precondition(!problems.description.contains(secret), "a secret in a problem")
}
