return require "skynet.datacenter"
