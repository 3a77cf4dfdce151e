# Packer: put this build block beside a source of yours, such as `source "amazon-ebs" "base"`. The service is enabled,
# and starts with each machine that is made of the image.
variable "synledger_deb" {
  type        = string
  description = "The Debian package that `make dist` made."
}

build {
  sources = ["source.amazon-ebs.base"]

  provisioner "file" {
    source      = var.synledger_deb
    destination = "/tmp/synledger.deb"
  }

  provisioner "shell" {
    execute_command = "sudo sh -ec '{{ .Vars }} {{ .Path }}'"
    inline = [
      "dpkg --install /tmp/synledger.deb",
      "systemctl enable synledger",
      "rm /tmp/synledger.deb",
    ]
  }
}
