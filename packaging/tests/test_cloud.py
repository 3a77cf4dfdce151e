"""What clouds are given: read as they would read it, and carried out on a booted machine."""

import json
import re

import lab

CLOUD = lab.PACKAGING / "cloud"
# Debian's python3-yaml, which Ansible brings.
YAML = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"


class Clouds(lab.Lab):
    def yaml(self, name: str) -> dict:
        self.need("/usr/bin/python3", "ansible-playbook")
        documents = json.loads(self.run_ok("/usr/bin/python3", "-c", YAML, CLOUD / name))
        self.assertEqual(len(documents), 1)
        return documents[0]

    def assert_runs(self, machine: lab.Machine) -> None:
        self.assertEqual(machine.state("StatusText"), "watching eth0")
        self.assertEqual(machine.ok("systemctl is-enabled synledger"), "enabled")

    def test_cloud_init_packer_and_codedeploy_each_install_a_sensor_that_runs(self):
        package = self.made(".deb")
        user_data, revision = self.yaml("cloud-init.yaml"), self.yaml("codedeploy/appspec.yml")
        machine = lab.Machine(self)
        machine.copy(package, "/srv/synledger.deb")
        for step in (lambda: self.cloud_init(machine, user_data), lambda: self.packer(machine),
                     lambda: self.codedeploy(machine, revision)):
            step()
            self.assert_runs(machine)
            machine.ok("dpkg --purge synledger; rm --recursive --force /etc/synledger")

    def cloud_init(self, machine: lab.Machine, user_data: dict) -> None:
        self.assertEqual((CLOUD / "cloud-init.yaml").read_text().splitlines()[0], "#cloud-config")
        self.assertEqual(set(user_data), {"write_files", "runcmd"})
        for file in user_data["write_files"]:
            path = machine.path(file["path"])
            path.parent.mkdir(parents=True)
            path.write_text(file["content"])
        [[shell, option, script]] = user_data["runcmd"]
        self.assertEqual((shell, option), ("sh", "-c"))
        script = script.replace("URL", "file:///srv/synledger.deb")
        refused = machine.run(script.replace("SHA256", "0" * 64))
        self.assertNotEqual(refused.returncode, 0, "another sum installs nothing")
        self.assertNotEqual(machine.run("test -e /usr/bin/synledger").returncode, 0)
        machine.ok(script.replace("SHA256", machine.ok("sha256sum /srv/synledger.deb").split()[0]))
        self.assertEqual(machine.ok("cat /etc/synledger/synledger.toml"), 'preset = "edge"')

    def packer(self, machine: lab.Machine) -> None:
        text = (CLOUD / "synledger.pkr.hcl").read_text()
        lines = re.search(r"inline = (\[.*?\])", text, re.DOTALL)[1]
        # A list of strings that ends with a comma is HCL's, not JSON's.
        commands = json.loads(re.sub(r",\s*\]", "]", lines))
        self.assertEqual(len(commands), 3)
        machine.ok("cp /srv/synledger.deb /tmp/synledger.deb")
        machine.ok("set -e\n" + "\n".join(commands))
        self.assertEqual(machine.state("ActiveState"), "inactive", "an image starts it when it boots")
        machine.ok("systemctl start synledger")

    def codedeploy(self, machine: lab.Machine, revision: dict) -> None:
        self.assertEqual((revision["version"], revision["os"]), (0.0, "linux"))
        machine.copy(CLOUD / "codedeploy", "/srv/revision")
        for file in revision["files"]:
            machine.ok(f"mkdir --parents {file['destination']} && cp /srv{file['source']} {file['destination']}")
        order = ("AfterInstall", "ApplicationStart", "ValidateService")
        self.assertEqual(tuple(revision["hooks"]), order)
        for hook in order:
            for script in revision["hooks"][hook]:
                machine.ok(f"/srv/revision/{script['location']}")
        machine.ok("systemctl stop synledger")
        refused = machine.run("sed 's/sleep 3/sleep 0.1/' /srv/revision/validate | sh")
        self.assertIn("synledger: no healthy answer", refused.stdout)
        self.assertEqual(refused.returncode, 1)
        machine.ok("systemctl start synledger")

    def test_the_pod_has_the_hosts_network_and_one_capability(self):
        pod = self.yaml("kubernetes.yaml")["spec"]["template"]["spec"]
        self.assertTrue(pod["hostNetwork"])
        [container] = pod["containers"]
        self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"], "add": ["NET_RAW"]})
        probe = container["livenessProbe"]["httpGet"]
        import oci
        self.assertIn(f"{probe['host']}:{probe['port']}", oci.COMMAND)


if __name__ == "__main__":
    lab.unittest.main()
