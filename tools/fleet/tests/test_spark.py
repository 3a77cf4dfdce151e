"""The queries on a Spark cluster: a master and two workers on loopback, started and stopped here. FLEET_ENGINES names spark."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import test_queries

HOST = "127.0.0.1"
_START_S = 60


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Cluster:
    """A master and workers, each a process of its own."""

    def __init__(self, workers: int):
        import pyspark
        self.jars = str(pathlib.Path(pyspark.__file__).parent / "jars" / "*")
        self.folder = tempfile.mkdtemp()
        self.processes: list[subprocess.Popen] = []
        self.port = free_port()
        self.master = f"spark://{HOST}:{self.port}"
        # The package has no build folders by whose names the workers would find out the version of Scala.
        self.environment = os.environ | {
            "SPARK_LOCAL_IP": HOST, "SPARK_SCALA_VERSION": "2.13", "SPARK_HOME": str(pathlib.Path(pyspark.__file__).parent),
            "SPARK_WORKER_DIR": f"{self.folder}/work", "SPARK_LOCAL_DIRS": self.folder}
        self._start("master.Master", "--host", HOST, "--port", str(self.port), "--webui-port", str(free_port()))
        self._wait("master", "started at")
        for number in range(workers):
            self._start("worker.Worker", "--host", HOST, "--webui-port", str(free_port()), "--cores", "1",
                        "--memory", "1g", self.master)
            self._wait(f"worker {number + 1}", "Successfully registered")

    def _start(self, name: str, *arguments: str) -> None:
        log = open(f"{self.folder}/{len(self.processes)}.log", "wb")
        with log:
            self.processes.append(subprocess.Popen(
                ["java", "-Xmx256m", "-cp", self.jars, f"org.apache.spark.deploy.{name}", *arguments],
                stdout=log, stderr=log, env=self.environment))

    def _wait(self, who: str, word: str) -> None:
        log = pathlib.Path(f"{self.folder}/{len(self.processes) - 1}.log")
        until = time.monotonic() + _START_S
        while word not in (text := log.read_text(errors="replace")):
            if time.monotonic() > until or self.processes[-1].poll() is not None:
                self.stop()
                raise AssertionError(f"the {who} did not start: {text[-2000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends them, workers first, by their ids."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Spark(test_queries.Answers):
    engine = "spark"

    @classmethod
    def setUpClass(cls):
        if "spark" not in os.environ.get("FLEET_ENGINES", "").split():
            raise unittest.SkipTest("spark: not asked for (FLEET_ENGINES)")
        if not shutil.which("java"):
            raise unittest.SkipTest("java is not installed")
        os.environ |= {"SPARK_LOCAL_IP": HOST, "SYNLEDGER_FLEET_SHUFFLE": "2"}
        cluster = Cluster(2)
        cls.addClassCleanup(cluster.stop)
        cls.master = cluster.master
        super().setUpClass()

    def test_both_workers_have_an_executor(self):
        status = self.fleet.engine.session.sparkContext._jsc.sc().getExecutorMemoryStatus()
        self.assertEqual(status.size(), 3, "the driver and one executor each")


if __name__ == "__main__":
    unittest.main()
