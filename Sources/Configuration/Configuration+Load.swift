extension Configuration {
    /// Reads and checks one configuration. Nothing is asked of a server.
    ///
    /// - Parameters:
    ///   - path: the file, relative to the working directory; it stands in every problem as it is given here.
    ///   - environment: the process's variables: for `${NAME}`, and for libpq's and AWS's own.
    ///   - purpose: which half is to run; see ``Purpose``.
    ///   - readFile: reads the file, the files of secrets and AWS's profiles. ``FileReader/read(_:)`` is the real one.
    /// - Throws: all problems at once. Exit code 78.
    public static func load(
        path: String,
        environment: [String: String],
        purpose: Purpose = .both,
        readFile: @escaping FileReading = FileReader.read
    ) throws(ConfigurationProblems) -> Configuration {
        let bytes: [UInt8]
        do throws(FileProblem) {
            bytes = try readFile(path)
        } catch {
            throw ConfigurationProblems([
                ConfigurationProblem(
                    file: path, location: nil, keyPath: "", message: "cannot read it: \(error.message)")
            ])
        }
        return try parse(bytes, file: path, environment: environment, purpose: purpose, readFile: readFile)
    }

    /// As ``load(path:environment:purpose:readFile:)``, of a text that is already there.
    public static func parse(
        _ bytes: [UInt8],
        file: String,
        environment: [String: String],
        purpose: Purpose = .both,
        readFile: @escaping FileReading
    ) throws(ConfigurationProblems) -> Configuration {
        let root: YAMLNode
        do throws(YAMLFailure) {
            root = try YAMLTree.parse(bytes)
        } catch {
            throw ConfigurationProblems([
                ConfigurationProblem(file: file, location: error.location, keyPath: "", message: error.message)
            ])
        }
        let context = ReadingContext(file: file, environment: environment, purpose: purpose, readFile: readFile)
        let top = Section(root, path: "", context: context)
        guard context.problems.isEmpty || !top.keys.isEmpty else { throw ConfigurationProblems(context.problems) }
        let name = readName(top)
        var configuration = Configuration(
            name: name,
            postgres: readPostgres(top.section("postgres"), name: name),
            kafka: readKafka(top.section("kafka")),
            events: readEvents(top.section("events")),
            s3: readS3(top),
            limits: readLimits(top.section("limits")),
            http: readHTTP(top),
            log: readLog(top.section("log")),
            source: context.source)
        CrossChecks(context: context).run(on: configuration)
        guard context.problems.isEmpty else { throw ConfigurationProblems(context.problems) }
        configuration.source = context.source
        return configuration
    }

    private static func readName(_ top: Section) -> String {
        let allowed = "a-z, 0-9 and _, at most 56 characters (slot and publication are sluice_<name>)"
        return top.parsed("name", allowed: allowed, required: true) { isSlotName($0, atMost: 56) ? $0 : nil } ?? ""
    }

    static func isSlotName(_ text: String, atMost length: Int) -> Bool {
        (1...length).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    private static func readEvents(_ section: Section) -> Events {
        Events(
            envelope: section.choice("envelope", .debezium),
            numeric: section.choice("numeric", .string),
            tombstones: section.bool("tombstones"),
            timestamps: section.choice("timestamps", .iso),
            json: section.choice("json", .text))
    }

    private static func readLimits(_ section: Section) -> Limits {
        Limits(
            memory: section.size("memory", (16 << 20)...Int.max),
            spool: section.size("spool", (1 << 20)...Int.max),
            spoolDirectory: section.parsed("spool_dir", allowed: "an absolute path") { $0.hasPrefix("/") ? $0 : nil }
                ?? "",
            startTimeout: section.duration("start_timeout"),
            stopTimeout: section.duration("stop_timeout"))
    }

    private static func readHTTP(_ top: Section) -> ListenAddress? {
        let allowed = "a numeric address and a port, such as 127.0.0.1:9465, 0.0.0.0:9465 or [::1]:9465, or off"
        let address = top.parsed("http", allowed: allowed) { text -> ListenAddress?? in
            text == "off" ? .some(nil) : ListenAddress(text).map { .some($0) }
        }
        return address ?? nil
    }

    private static func readLog(_ section: Section) -> Log {
        Log(level: section.choice("level", .info), format: section.choice("format", .text))
    }
}
