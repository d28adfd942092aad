return require "skynet.dns"
