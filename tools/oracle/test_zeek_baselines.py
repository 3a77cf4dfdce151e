#!/usr/bin/env python3
"""Tests of zeek_baselines.py, without captures and without Zeek's repository."""

import unittest

import zeek_baselines

ROW = {"id.orig_h": "192.0.2.1", "id.orig_p": "4000", "id.resp_h": "198.51.100.1", "id.resp_p": "80", "proto": "tcp",
       "ip_proto": "6", "conn_state": "SF", "history": "ShADadFf", "duration": "1.500000", "orig_bytes": "10",
       "resp_bytes": "20", "missed_bytes": "0", "orig_pkts": "5", "orig_ip_bytes": "270", "resp_pkts": "4",
       "resp_ip_bytes": "228"}


class Baselines(unittest.TestCase):
    """Each difference is found, under its cause."""

    def causes(self, theirs, own):
        return [cause for cause, _ in zeek_baselines.differences(theirs, own)]

    def test_equal_rows_pass(self):
        self.assertEqual(self.causes([ROW, ROW], [ROW, ROW]), [])
        fewer = {name: ROW[name] for name in zeek_baselines.ENDS} | {"history": ROW["history"]}
        self.assertEqual(self.causes([fewer], [ROW]), [])

    def test_each_spoiled_field_is_found(self):
        for name in zeek_baselines.FIELDS:
            spoiled = ROW | {name: "9.0" if name == "duration" else "Sh" if name == "history" else "9"}
            self.assertEqual(len(self.causes([ROW], [spoiled])), 1, name)

    def test_causes(self):
        self.assertEqual(self.causes([ROW], []), ["not_here"])
        self.assertEqual(self.causes([ROW], [ROW, ROW]), ["only_here"])
        back = ROW | {"id.orig_h": ROW["id.resp_h"], "id.resp_h": ROW["id.orig_h"], "id.orig_p": "80", "id.resp_p": "4000"}
        self.assertEqual(self.causes([ROW], [back]), ["turned"])
        for theirs, own, cause in (
            ({"history": "ShADCad"}, {}, "checksums"),
            ({"history": "ShADadWFf"}, {}, "letters"),
            ({"history": "ShADadtTFf"}, {}, "gaps"),
            ({"history": "ShAFf"}, {}, "unexplained"),
            ({"duration": "1.4"}, {}, "close"),
            ({"orig_ip_bytes": "40"}, {}, "length_0"),
            ({"conn_state": "SH", "history": "DAF"}, {"conn_state": "OTH", "history": "DAF"}, "begin"),
            ({"orig_bytes": "11"}, {"missed_bytes": "1"}, "gaps"),
            ({"orig_bytes": "11"}, {}, "unexplained"),
        ):
            found = self.causes([ROW | theirs], [ROW | own])
            self.assertIn(cause, found, (theirs, own))

    def test_logs_with_and_without_a_header_are_read(self):
        names = "\t".join(ROW)
        values = "\t".join(ROW.values())
        for head in (f"#fields\t{names}", names):
            self.assertEqual(zeek_baselines.rows_of(f"### made by btest\n{head}\n{values}\n"), [ROW])
        self.assertIsNone(zeek_baselines.rows_of("ts\tuid\n1\t2\n"))


if __name__ == "__main__":
    unittest.main()
