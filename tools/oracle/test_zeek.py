#!/usr/bin/env python3
"""Tests of zeek.py, without captures."""

import pathlib
import tempfile
import unittest

import zeek


class Zeek(unittest.TestCase):
    """zeek.py finds each fault planted in a log, and none in a right log."""

    FIELDS = ("ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration", "orig_bytes",
              "resp_bytes", "conn_state", "local_orig", "local_resp", "history", "orig_pkts", "resp_pkts",
              "community_id", "missed_bytes", "orig_ip_bytes", "resp_ip_bytes")
    TYPES = ("time", "addr", "port", "addr", "port", "enum", "interval", "count", "count", "string", "bool",
             "bool", "string", "count", "count", "string", "count", "count", "count")
    ROW = ("1619623685.123456", "192.0.2.1", "4000", "198.51.100.1", "80", "tcp", "1.500000", "10", "20", "SF",
           "F", "T", "ShADadFf", "5", "4", "1:abc=", "3", "300", "200")
    EVE = {
        "timestamp": "2021-04-28T15:28:06.623456+0000", "event_type": "flow", "src_ip": "192.0.2.1",
        "src_port": 4000, "dest_ip": "198.51.100.1", "dest_port": 80, "proto": "TCP", "community_id": "1:abc=",
        "flow": {"pkts_toserver": 5, "pkts_toclient": 4, "start": "2021-04-28T15:28:05.123456+0000",
                 "end": "2021-04-28T15:28:06.623456+0000"},
        "synledger": {"conn_state": "SF", "history": "ShADadFf", "direction": "in",
                      "midstream": False, "payload_bytes_toserver": 12, "payload_bytes_toclient": 20,
                      "ip_bytes_toserver": 300, "ip_bytes_toclient": 200, "retransmitted_bytes_toserver": 5,
                      "missed_bytes_toserver": 3},
    }
    NOTICE = {"ts": "1619623685.123456", "note": "Scan::Port_Scan", "msg": "Port scan detected", "src": "192.0.2.1",
              "dst": "198.51.100.1", "p": "-", "n": "4", "proto": "tcp"}
    ALERT = {
        "timestamp": "2021-04-28T15:28:05.123456+0000", "event_type": "alert", "src_ip": "192.0.2.1",
        "dest_ip": "198.51.100.1", "proto": "TCP", "synledger": {"scan": {"kind": "port_scan", "ports": 4, "hosts": 1}},
    }

    def log(self, *, types=TYPES, rows=(ROW,), last="#close\t2021-04-28-15-28-07\n"):
        """A conn.log, read by its columns."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "conn.log")
            lines = ["#separator \\x09", "\t".join(("#fields", *self.FIELDS)), "\t".join(("#types", *types))]
            path.write_text("\n".join([*lines, *("\t".join(row) for row in rows)]) + "\n" + last)
            return zeek.columns(path)

    def test_a_right_log_passes(self):
        types, rows = self.log()
        logs = {"conn": (types, rows), "notice": ({}, [self.NOTICE])}
        self.assertEqual(zeek.eve_differences(logs, [self.EVE, self.ALERT]), [])

    def test_each_field_that_is_spoiled_is_named(self):
        types, (row,) = self.log()
        shown = {"id.orig_p": "ports", "id.resp_p": "ports", "local_orig": "local", "local_resp": "local",
                 "orig_bytes": "duration and bytes", "resp_bytes": "duration and bytes", "duration": "duration and bytes"}
        for name in self.FIELDS:
            spoiled = "2.000000" if types[name] in ("time", "interval") else "T" if row[name] == "F" else "9"
            lines = zeek.eve_differences({"conn": (types, [row | {name: spoiled}])}, [self.EVE])
            self.assertTrue(any(shown.get(name, name) in line for line in lines), (name, lines))
        for name, spoiled in {"ts": "1.000000", "note": "Scan::Other", "msg": "-", "src": "192.0.2.2",
                              "dst": "192.0.2.3", "p": "80", "n": "5"}.items():
            lines = zeek.eve_differences({"notice": ({}, [self.NOTICE | {name: spoiled}])}, [self.ALERT])
            self.assertEqual([line.split(": ")[1] for line in lines], [name], lines)

    def test_a_row_too_few_or_too_many_is_a_difference(self):
        log = self.log()
        self.assertEqual(len(zeek.eve_differences({"conn": log}, [self.EVE, self.EVE])), 1)
        self.assertEqual(len(zeek.eve_differences({"conn": log}, [])), 1)
        self.assertEqual(len(zeek.eve_differences({}, [self.ALERT])), 1)

    def test_a_malformed_log_is_an_error(self):
        for why, spoiled in {"#close": {"last": ""}, "#types": {"types": self.TYPES[1:]},
                             "columns": {"rows": (self.ROW[1:],)}}.items():
            with self.assertRaisesRegex(ValueError, why):
                self.log(**spoiled)

    def test_a_value_that_a_reader_reads_otherwise_is_named(self):
        types, rows = self.log()
        for reader, value in (("zat", zeek.as_zat), ("parsezeeklogs", zeek.as_parsezeeklogs)):
            read = [{name: value(types[name], text) for name, text in row.items()} for row in rows]
            self.assertEqual(zeek.reader_differences(reader, types, rows, read), [])
            self.assertEqual(len(zeek.reader_differences(reader, types, rows, [])), 1)
            for name in self.FIELDS:
                spoiled = [read[0] | {name: "other"}]
                lines = zeek.reader_differences(reader, types, rows, spoiled)
                self.assertEqual(len(lines), 1, (reader, name, lines))

    def test_other_rows_after_rotation_and_other_bytes_are_named(self):
        _, rows = self.log()
        self.assertEqual(zeek.union_differences({"conn": rows}, {"conn": list(rows)}), [])
        for rotated in ({}, {"conn": rows * 2}, {"conn": [rows[0] | {"proto": "udp"}]}):
            self.assertEqual(len(zeek.union_differences({"conn": rows}, rotated)), 1)
        with tempfile.TemporaryDirectory() as folder:
            one, other = (pathlib.Path(folder, name) for name in ("1", "2"))
            one.write_text("a")
            other.write_text("a")
            self.assertEqual(zeek.byte_differences(2, {"conn.log": one}, {"conn.log": other}), [])
            other.write_text("b")
            self.assertEqual(len(zeek.byte_differences(2, {"conn.log": one}, {"conn.log": other})), 1)
            self.assertEqual(len(zeek.byte_differences(2, {"conn.log": one}, {})), 1)


if __name__ == "__main__":
    unittest.main()
