/// The constant bytes of one transaction's records, between which a row's own go.
struct TransactionPieces: ~Copyable {
    private(set) var bytes = ByteBuffer(capacity: 1024)
    /// From behind the images to the row's LSN in `sequence`.
    private(set) var sequence = 0..<0
    /// From there to the schema.
    private(set) var times = 0..<0
    /// From the transaction's number to the row's LSN in `lsn`.
    private(set) var number = 0..<0
    /// From there to the operation.
    private(set) var origin = 0..<0
    /// The flat envelope's fields from behind the operation to the ordinal.
    private(set) var flat = 0..<0
    /// The position header up to the ordinal, and behind it.
    private(set) var position = 0..<0
    private(set) var commitTime = 0..<0

    /// Makes the pieces of a transaction. xid 0 is none; `last` is the end of the commit before.
    mutating func make(
        _ head: TransactionHead, format: EventFormat, last: LSN, originName: String?, originLSN: LSN?
    ) {
        bytes.removeAll()
        position = piece { bytes in
            bytes.append(decimal: format.epoch)
            bytes.append(UInt8(ascii: "/"))
            bytes.append(lsn: head.commitLSN)
            bytes.append(UInt8(ascii: "/"))
        }
        commitTime = piece { bytes in
            bytes.append(UInt8(ascii: "/"))
            bytes.append(decimal: head.commitTime)
        }
        switch format.envelope {
        case .flat: makeFlat(head, format)
        case .debezium: makeSource(head, format, last, originName, originLSN)
        }
    }

    private mutating func makeFlat(_ head: TransactionHead, _ format: EventFormat) {
        flat = piece { bytes in
            bytes.append("\",\"_lsn\":")
            bytes.append(decimal: head.commitLSN.rawValue)
            bytes.append(",\"_commit_ts\":")
            if format.timestamps == .iso {
                bytes.append(UInt8(ascii: "\""))
                bytes.append(moment: head.commitTime)
                bytes.append(UInt8(ascii: "\""))
            } else {
                bytes.append(decimal: head.commitTime)
            }
            bytes.append(",\"_xid\":")
            bytes.append(xid: head.xid)
            bytes.append(",\"_seq\":")
        }
    }

    private mutating func makeSource(
        _ head: TransactionHead, _ format: EventFormat, _ last: LSN, _ originName: String?, _ originLSN: LSN?
    ) {
        sequence = piece { bytes in
            bytes.append("\"source\":{\"version\":")
            bytes.append(jsonString: format.version)
            bytes.append(",\"connector\":\"postgresql\",\"name\":")
            bytes.append(jsonString: format.name)
            bytes.append(",\"ts_ms\":")
            bytes.append(decimal: head.commitTime / 1000)
            bytes.append(",\"snapshot\":\"false\",\"db\":")
            bytes.append(jsonString: format.database)
            bytes.append(",\"sequence\":\"[")
            if last.rawValue == 0 {
                bytes.append("null")
            } else {
                bytes.append("\\\"")
                bytes.append(decimal: last.rawValue)
                bytes.append("\\\"")
            }
            bytes.append(",\\\"")
        }
        times = piece { bytes in
            bytes.append("\\\"]\",\"ts_us\":")
            bytes.append(decimal: head.commitTime)
            bytes.append(",\"ts_ns\":")
            bytes.append(decimal: head.commitTime &* 1000)
            bytes.append(",\"schema\":")
        }
        number = piece { bytes in
            bytes.append(xid: head.xid)
            bytes.append(",\"lsn\":")
        }
        origin = piece { bytes in
            bytes.append(",\"xmin\":null,\"origin\":")
            if let originName { bytes.append(jsonString: originName) } else { bytes.append("null") }
            bytes.append(",\"origin_lsn\":")
            if let originLSN { bytes.append(decimal: originLSN.rawValue) } else { bytes.append("null") }
            bytes.append("},\"transaction\":null")
        }
    }

    private mutating func piece(_ write: (inout ByteBuffer) -> Void) -> Range<Int> {
        let start = bytes.count
        write(&bytes)
        return start..<bytes.count
    }
}

extension ByteBuffer {
    /// A transaction's number; null for none.
    fileprivate mutating func append(xid: UInt32) {
        if xid == 0 { append("null") } else { append(decimal: xid) }
    }

    /// Appends Debezium's `source` and `transaction` of a record; `table` is `"schema","table":"name","txId":`.
    mutating func append(source pieces: borrowing TransactionPieces, table: Span<UInt8>, lsn: LSN) {
        let bytes = pieces.bytes.span
        append(bytes.extracting(pieces.sequence))
        append(decimal: lsn.rawValue)
        append(bytes.extracting(pieces.times))
        append(table)
        append(bytes.extracting(pieces.number))
        append(decimal: lsn.rawValue)
        append(bytes.extracting(pieces.origin))
    }

    /// Appends the header `sluice.pos` of a change.
    mutating func append(position pieces: borrowing TransactionPieces, ordinal: UInt64) {
        let bytes = pieces.bytes.span
        append(bytes.extracting(pieces.position))
        append(decimal: ordinal)
        append(bytes.extracting(pieces.commitTime))
    }
}
