#compdef pocketsocket
_arguments \
  '--run[start the server]' \
  '--broadcast[relay each message to all but its sender]' \
  '--print[write one line for each event]' \
  '--address[where to listen]:address:(127.0.0.1 0.0.0.0 \:\:1 \:\:)' \
  '--port[TCP port, 0 picks a free one]:port:' \
  '--unix[Unix domain socket to listen on]:file:_files' \
  '--reuse-port[let other processes listen on the same port]' \
  '--template[page to serve]:file:_files' \
  '--broker[serve as one with all servers of this broker]:URL:' \
  '--completions[write a completion script]:shell:(bash zsh fish)' \
  '(-h --help)'{-h,--help}'[write the help]' \
  '(-V --version)'{-V,--version}'[write the version]'
