return require "skynet.multicast"
