// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 language mode, warnings refused.
let base: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableExperimentalFeature("Lifetimes"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

/// The places that `Failpoint` names can end the process: in debug builds, and, for campaigns of faults, where
/// `SLUICE_FAILPOINTS=1` asks for it. Never in a release.
let failpoints: [SwiftSetting] = [
    Context.environment["SLUICE_FAILPOINTS"] == "1"
        ? .define("FAILPOINTS") : .define("FAILPOINTS", .when(configuration: .debug))
]

/// The modules that meet no C library also mark every unsafe expression.
let strict: [SwiftSetting] = base + [.strictMemorySafety()]

/// A C library of Debian's. Each is imported by exactly one module of ours; the calls of Linux itself (`CLinux`) by those that need them.
func library(_ name: String, _ pkgConfig: String, apt: String) -> Target {
    .systemLibrary(name: name, path: "Sources/C/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func module(
    _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [], settings: [SwiftSetting] = base
) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: base)
}

let package = Package(
    name: "sluice",
    products: [.executable(name: "sluice", targets: ["sluice"])],
    targets: [
        library("CPostgres", "libpq", apt: "libpq-dev"),
        library("CKafka", "rdkafka", apt: "librdkafka-dev"),
        library("CCurl", "libcurl", apt: "libcurl4-openssl-dev"),
        library("CCrypto", "libcrypto", apt: "libssl-dev"),
        library("CLZ4", "liblz4", apt: "liblz4-dev"),
        library("CIsal", "libisal", apt: "libisal-dev"),
        library("CYAML", "yaml-0.1", apt: "libyaml-dev"),
        library("CSQLite", "sqlite3", apt: "libsqlite3-dev"),
        library("CMicroHTTPD", "libmicrohttpd", apt: "libmicrohttpd-dev"),
        .systemLibrary(name: "CLinux", path: "Sources/C/CLinux"),

        module("Dates", settings: strict),
        module("Threads", ["CLinux"], settings: strict),
        module("ChangeData", ["Dates"], settings: strict),
        module("Postgres", ["CPostgres", "ChangeData"]),
        module("Kafka", ["CKafka", "Threads"]),
        module("ObjectStorage", ["Dates", "CCurl", "CCrypto", "CLZ4", "CIsal"]),
        module("LocalStorage", ["CSQLite"]),
        module("Configuration", ["Dates", "CYAML"]),
        module("Telemetry", ["Dates", "CMicroHTTPD"]),
        module(
            "Pipeline",
            [
                "CLinux", "Dates", "Threads", "ChangeData", "Postgres", "Kafka", "ObjectStorage", "LocalStorage",
                "Telemetry",
            ],
            exclude: ["README.md"], settings: strict + failpoints),
        .executableTarget(
            name: "sluice",
            dependencies: [
                "CLinux", "Threads", "Pipeline", "Configuration", "ChangeData", "Kafka", "ObjectStorage", "Postgres",
                "Telemetry",
            ],
            swiftSettings: base),
        // Built by ops/bench/run: no product, and no part of the agent.
        .executableTarget(
            name: "decoder-bench", dependencies: ["ChangeData"], path: "ops/bench/decoder", swiftSettings: base),

        tests("ChangeDataTests", ["ChangeData", "ObjectStorage"], exclude: ["Fixtures"]),
        tests("PostgresTests", ["Postgres"]),
        tests("KafkaTests", ["Kafka", "CKafka"]),
        tests("ObjectStorageTests", ["ObjectStorage", "Dates"]),
        tests("LocalStorageTests", ["LocalStorage"]),
        // The others say again what Configuration has to know of them without meeting them.
        tests("ConfigurationTests", ["Configuration", "ChangeData", "Kafka"]),
        tests("TelemetryTests", ["Telemetry", "Dates"]),
        tests(
            "PipelineTests",
            ["Pipeline", "Dates", "Threads", "ChangeData", "Kafka", "ObjectStorage", "LocalStorage", "Telemetry"]),
    ]
)
