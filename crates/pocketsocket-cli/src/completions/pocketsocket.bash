# bash completion of pocketsocket
_pocketsocket() {
  local current=$2 previous=$3
  case $previous in
    --template | --unix) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    --address) mapfile -t COMPREPLY < <(compgen -W '127.0.0.1 0.0.0.0 ::1 ::' -- "$current"); return ;;
    --port | --broker) return ;;
    --completions) mapfile -t COMPREPLY < <(compgen -W 'bash zsh fish' -- "$current"); return ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W '--run --broadcast --print --address --port --unix --reuse-port --template --broker --completions --help --version' -- "$current")
}
complete -F _pocketsocket pocketsocket
