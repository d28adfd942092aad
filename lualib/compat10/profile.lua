return require "skynet.profile"
