# What is typed behind `python -m` of a command of Tessera, beside fish's own completion of python.

function __tessera_live --argument-names what
    set -l manifests manifests
    set -l runs runs
    for word in (commandline -opc)
        string match -q -- '--manifests=*' $word
        and set manifests (string replace -- '--manifests=' '' $word)
        string match -q -- '--runs=*' $word
        and set runs (string replace -- '--runs=' '' $word)
    end
    switch $what
        case datasets
            for one in $manifests/*/dataset.json
                string replace -r '.*/([^/]+)/dataset.json$' '$1' -- $one
            end
        case runs
            for one in $runs/*/config.toml
                string replace -r '/config.toml$' '' -- $one
            end
        case names
            for one in $runs/*/config.toml
                string replace -r '.*/([^/]+)/config.toml$' '$1' -- $one
            end
    end
end

function __tessera_reply --argument-names before typed source
    set -l found
    switch $source
        case ''
            return
        case path
            for one in (__fish_complete_path $typed)
                echo $before$one
            end
            return
        case '=*'
            set found (string split ' ' -- (string sub -s 2 -- $source))
        case '*'
            set found (__tessera_live $source)
    end
    set -l several ''
    string match -q -- '*,*' $typed
    and set several (string match -r '.*,' -- $typed)
    for one in $found
        echo $before$several$one
    end
end

function __tessera_takes_value --argument-names key flag
    __tessera_flags $key | string match -q -- "--$flag=*"
end

# the words behind -m, one a line; fails where there is no such command
function __tessera_words
    set -l words (commandline -opc)
    set -l at (contains -i -- -m $words); or return 1
    test (count $words) -gt $at; or return 1
    contains -- $words[(math $at + 1)] $__tessera_modules; or return 1
    printf '%s\n' $words[(math $at + 1)..-1]
end

function __tessera_here
    __tessera_words >/dev/null
end

function __tessera_asks_module
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test "$words[-1]" = -m
end

function __tessera_complete
    set -l words (__tessera_words); or return
    set -l typed (commandline -ct)
    set -l key $words[1]
    set -l place 0
    set -l last ''
    for word in $words[2..-1]
        set -l before $last
        set last $word
        string match -q -- '-*' $word; and continue
        if string match -q -- '--*' $before; and not string match -q -- '*=*' $before
            __tessera_takes_value $key (string sub -s 3 -- $before); and continue
        end
        if test $place -eq 0; and contains -- "$key $word" $__tessera_keys
            set key "$key $word"
        else
            set place (math $place + 1)
        end
    end
    if string match -q -- '--*=*' $typed
        set -l parts (string split -m 1 = -- $typed)
        set -l flag (string sub -s 3 -- $parts[1])
        __tessera_reply "$parts[1]=" "$parts[2]" (__tessera_values "$key:$flag")
    else if string match -q -- '-*' $typed
        __tessera_flags $key
    else if string match -q -- '--*' $last
        and not string match -q -- '*=*' $last
        and __tessera_takes_value $key (string sub -s 3 -- $last)
        set -l flag (string sub -s 3 -- $last)
        __tessera_reply '' "$typed" (__tessera_values "$key:$flag")
    else
        test $place -eq 0; and __tessera_nexts $key
        set -l source (__tessera_values $key:$place)
        string match -q -- '=*' "$source"; or __tessera_reply '' "$typed" "$source"
    end
end

for command in python python3
    complete -c $command -n __tessera_asks_module -f -a '(__tessera_described)'
    complete -c $command -n __tessera_here -f -a '(__tessera_complete)'
end
