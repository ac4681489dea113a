# Completion of hoist for bash. Keep it as ~/.local/share/bash-completion/completions/hoist, or load it with
#   source <(hoist completions bash)

_hoist() {
    local program="${COMP_WORDS[0]/#\~/$HOME}" current="${COMP_WORDS[COMP_CWORD]}" value
    COMPREPLY=()
    [ "$current" = "=" ] && current=""
    while IFS=$'\t' read -r value _; do
        case "$value" in
            :dirs)
                compopt -o filenames 2>/dev/null
                while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -d -- "$current")
                ;;
            :files)
                compopt -o filenames 2>/dev/null
                while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -f -- "$current")
                ;;
            *=)
                compopt -o nospace 2>/dev/null
                COMPREPLY+=("$value")
                ;;
            *)
                COMPREPLY+=("$value")
                ;;
        esac
    done < <("$program" __complete bash -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null)
}

complete -F _hoist hoist
