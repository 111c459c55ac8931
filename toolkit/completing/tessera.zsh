# What is typed behind `python -m` of a command of Tessera; anything else is left to zsh's own
# completion of python.

__tessera_live() {  # $1: datasets, runs or names
    local -a found
    case $1 in
        datasets) found=(${__tessera_manifests:-manifests}/*/dataset.json(N:h:t)) ;;
        runs) found=(${__tessera_runs:-runs}/*/config.toml(N:h)) ;;
        names) found=(${__tessera_runs:-runs}/*/config.toml(N:h:t)) ;;
    esac
    compadd -Q -- $found
}

__tessera_reply() {  # $1: where values come from
    case $1 in
        '') _default ;;
        path) _files ;;
        '='*) compset -P '*,'; compadd -- ${=1#=} ;;
        *) compset -P '*,'; __tessera_live $1 ;;
    esac
}

__tessera_before() {
    if (( $+functions[_python] )) || { autoload +X -Uz _python 2>/dev/null }; then
        _python "$@"
    else
        _default "$@"
    fi
}

__tessera_python() {
    local at i key word next flag place=0 __tessera_manifests __tessera_runs
    local -a __tessera_found __tessera_pairs
    for ((at = 2; at < CURRENT; at++)); do
        case $words[at] in
            -m) break ;;
            -W|-X) ((at++)) ;;
            -*) ;;
            *) at=$CURRENT ;;
        esac
    done
    if ((at >= CURRENT)); then __tessera_before "$@"; return; fi
    ((at++))
    if ((at == CURRENT)); then
        if [[ -n $PREFIX && -n ${(M)__tessera_modules:#${(b)PREFIX}*} ]]; then
            _describe -t commands 'command of Tessera' __tessera_described
        else
            __tessera_before "$@"
        fi
        return
    fi
    key=$words[at]
    if ((! ${__tessera_modules[(Ie)$key]})); then __tessera_before "$@"; return; fi
    for ((i = at + 1; i < CURRENT; i++)); do
        word=$words[i]
        case $word in
            --manifests=*) __tessera_manifests=${word#*=} ;;
            --runs=*) __tessera_runs=${word#*=} ;;
        esac
        [[ $word == -* ]] && continue
        flag=${words[i-1]#--}
        if [[ $words[i-1] == --* && $flag != *=* ]] && __tessera_takes_value $key $flag
        then continue; fi
        next="$key $word"
        if ((place == 0 && ${__tessera_keys[(Ie)$next]}))
        then key=$next; else ((place++)); fi
    done
    flag=${words[CURRENT-1]#--}
    if [[ $PREFIX == --*=* ]]; then
        flag=${PREFIX%%=*}
        compset -P '*='
        __tessera_values "$key:${flag#--}"
        __tessera_reply "$__tessera_found"
    elif [[ $PREFIX == -* ]]; then
        __tessera_flags $key
        local -a with without
        with=(${(M)__tessera_pairs:#*=:*}) without=(${__tessera_pairs:#*=:*})
        _describe -o 'flag' with -S '' -- without
    elif ((CURRENT > at + 1)) && [[ $words[CURRENT-1] == --* && $flag != *=* ]] \
        && __tessera_takes_value $key $flag; then
        __tessera_values "$key:$flag"
        __tessera_reply "$__tessera_found"
    else
        __tessera_pairs=()
        ((place == 0)) && __tessera_nexts $key
        (($#__tessera_pairs)) && _describe -t commands 'what may follow' __tessera_pairs
        __tessera_values "$key:$place"
        # values that are known are among the next words; files are for where there are none
        [[ $__tessera_found == '='* ]] && return
        [[ -z $__tessera_found && $#__tessera_pairs -gt 0 ]] || __tessera_reply "$__tessera_found"
    fi
}

__tessera_takes_value() {
    local -a __tessera_pairs
    __tessera_flags $1
    [[ -n ${(M)__tessera_pairs:#--${(b)2}=:*} ]]
}

if ((! $+functions[compdef])); then autoload -Uz compinit && compinit; fi
compdef __tessera_python python python3
