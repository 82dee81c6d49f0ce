# fish completion of pocketsocket
complete -c pocketsocket -f
complete -c pocketsocket -l run -d 'Start the server'
complete -c pocketsocket -l broadcast -d 'Relay each message to all but its sender'
complete -c pocketsocket -l print -d 'Write one line for each event'
complete -c pocketsocket -l address -x -a '127.0.0.1 0.0.0.0 ::1 ::' -d 'Where to listen'
complete -c pocketsocket -l port -x -d 'TCP port, 0 picks a free one'
complete -c pocketsocket -l unix -r -F -d 'Unix domain socket to listen on'
complete -c pocketsocket -l reuse-port -d 'Let other processes listen on the same port'
complete -c pocketsocket -l template -r -F -d 'Page to serve'
complete -c pocketsocket -l broker -x -d 'Serve as one with all servers of this broker'
complete -c pocketsocket -l completions -x -a 'bash zsh fish' -d 'Write a completion script'
complete -c pocketsocket -s h -l help -d 'Write the help'
complete -c pocketsocket -s V -l version -d 'Write the version'
