"""Tests of what explains a connection in a tunnel that the sensor does not have."""

import unittest

import tunnels


class Explained(unittest.TestCase):
    def test_only_tunnels_that_are_not_opened_explain_a_difference(self):
        for layers, why in (
            ("eth:ethertype:ip:gre:ip:tcp", None),
            ("eth:ethertype:ip:udp:vxlan:eth:ethertype:ipv6:tcp", None),
            ("eth:ethertype:ip:udp:gtp:ip:tcp", "gtp is not opened"),
            ("eth:ethertype:ip:gre:ip:gre:ip:tcp", "two of gre"),
        ):
            self.assertEqual(tunnels.explained(layers.split(":")), why)


if __name__ == "__main__":
    unittest.main()
