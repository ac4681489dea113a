#compdef hoist
# Completion of hoist for zsh. Keep it as _hoist in a directory of $fpath, or load it with
#   source <(hoist completions zsh)

_hoist() {
    local value about program=${(Q)words[1]/#\~/$HOME}
    local -a whole open
    while IFS=$'\t' read -r value about; do
        case $value in
            :dirs) _path_files -/; return ;;
            :files) _files; return ;;
            *=) open+=("${value//:/\\:}:$about") ;;
            *) whole+=("${value//:/\\:}:$about") ;;
        esac
    done < <($program __complete zsh -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)
    (( $#whole )) && _describe -t values 'hoist' whole
    (( $#open )) && _describe -t values 'hoist' open -S ''
    return 0
}

if [ "$funcstack[1]" = "_hoist" ]; then
    _hoist "$@"
else
    compdef _hoist hoist
fi
