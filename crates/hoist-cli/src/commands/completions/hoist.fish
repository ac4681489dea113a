# Completion of hoist for fish. Keep it as ~/.config/fish/completions/hoist.fish, or load it with
#   hoist completions fish | source

function __hoist_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete fish -- $words "$current" 2>/dev/null)
        switch $line
            case ':dirs*'
                __fish_complete_directories "$current"
            case ':files*'
                __fish_complete_path "$current"
            case '*'
                echo $line
        end
    end
end

complete -c hoist -f -a '(__hoist_complete)'
