# What is typed behind `python -m` of a command of Tessera; anything else is left to whatever
# completed `python` before.

__tessera_live() {  # $1: datasets, runs or names; the folders as --manifests= and --runs= say
    local one
    case $1 in
        datasets)
            for one in "${__tessera_manifests:-manifests}"/*/dataset.json; do
                [[ -e $one ]] && one=${one%/dataset.json} && printf '%s\n' "${one##*/}"
            done ;;
        runs|names)
            for one in "${__tessera_runs:-runs}"/*/config.toml; do
                [[ -e $one ]] || continue
                one=${one%/config.toml}
                [[ $1 == names ]] && one=${one##*/}
                printf '%s\n' "$one"
            done ;;
    esac
}

__tessera_reply() {  # $1: what is typed of a value, $2: its source; fills COMPREPLY
    local typed=$1 before="" found=$2 one glued=""
    case $found in
        "") return ;;
        path)
            [[ $COMP_WORDBREAKS == *=* ]] || glued=$__tessera_flag
            while IFS= read -r one; do COMPREPLY+=("$glued$one"); done \
                < <(compgen -f -- "$typed")
            compopt -o filenames 2>/dev/null
            return ;;
        =*) found=${found#=} ;;
        *) found=$(__tessera_live "$found") ;;
    esac
    if [[ $typed == *,* ]]; then before=${typed%,*},; fi
    [[ $COMP_WORDBREAKS == *=* ]] || before=$__tessera_flag$before
    for one in $found; do
        [[ $one == "${typed##*,}"* ]] && COMPREPLY+=("$before$one")
    done
}

__tessera_before() {  # what completed python before; $1: the command
    local spec
    if [[ -z ${__tessera_other+set} ]]; then
        __tessera_other=""
        for spec in _comp_load __load_completion _completion_loader; do  # of bash-completion
            if declare -F "$spec" >/dev/null; then
                "$spec" "$1" >/dev/null 2>&1
                spec=$(complete -p "$1" 2>/dev/null)
                spec=${spec##* -F }
                spec=${spec%% *}
                [[ $spec != __tessera_python ]] && __tessera_other=$spec
                __tessera_hook
                break
            fi
        done
    fi
    [[ -n $__tessera_other ]] && declare -F "$__tessera_other" >/dev/null \
        && "$__tessera_other" "$@"
}

__tessera_python() {
    local words=() word glued="" i n at key typed next place=0 flag
    local __tessera_manifests="" __tessera_runs="" __tessera_flag=""
    COMPREPLY=()
    for ((i = 0; i <= COMP_CWORD; i++)); do  # bash parts words at `=`
        word=${COMP_WORDS[i]} n=${#words[@]}
        if [[ $word == =* && $n -gt 0 && ${words[n-1]} == --* ]]; then
            words[n-1]+=$word glued=${word#=}
            [[ -z $glued ]] && glued=1 || glued=""
        elif [[ -n $glued ]]; then
            words[n-1]+=$word glued=""
        else
            words+=("$word")
        fi
    done
    n=$((${#words[@]} - 1)) typed=${words[${#words[@]}-1]}
    for ((at = 1; at < n; at++)); do
        case ${words[at]} in
            -m) break ;;
            -W|-X) ((at++)) ;;
            -*) ;;
            *) at=$n ;;
        esac
    done
    if ((at >= n)) || [[ ${words[at]} != -m ]]; then __tessera_before "$@"; return; fi
    ((at++))
    if ((at == n)); then
        [[ -n $typed ]] && for word in $__tessera_modules; do
            [[ $word == "$typed"* ]] && COMPREPLY+=("$word")
        done
        [[ ${#COMPREPLY[@]} -gt 0 ]] || __tessera_before "$@"
        return
    fi
    key=${words[at]}
    if [[ " $__tessera_modules " != *" $key "* ]]; then __tessera_before "$@"; return; fi
    for ((i = at + 1; i < n; i++)); do
        word=${words[i]}
        case $word in
            --manifests=*) __tessera_manifests=${word#*=} ;;
            --runs=*) __tessera_runs=${word#*=} ;;
        esac
        [[ $word == -* ]] && continue
        flag=${words[i-1]#--}
        if [[ ${words[i-1]} == --* && $flag != *=* ]] && __tessera_takes_value "$key" "$flag"
        then continue; fi
        next="$key $word"
        if ((place == 0)) && [[ $__tessera_keys == *"|$next|"* ]]
        then key=$next; else ((place++)); fi
    done
    flag=${words[n-1]#--}
    if [[ $typed == --*=* ]]; then
        flag=${typed%%=*} __tessera_flag=$flag=
        __tessera_values "$key:${flag#--}"
        __tessera_reply "${typed#*=}" "$__tessera_found"
    elif [[ $typed == -* ]]; then
        __tessera_flags "$key"
        for word in $__tessera_found; do
            [[ $word == "$typed"* ]] && COMPREPLY+=("$word")
        done
        if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
            compopt -o nospace 2>/dev/null
        fi
    elif ((n > at + 1)) && [[ ${words[n-1]} == --* && $flag != *=* ]] \
        && __tessera_takes_value "$key" "$flag"; then
        __tessera_values "$key:$flag"
        local COMP_WORDBREAKS="="  # the value stands alone, nothing has to be glued
        __tessera_reply "$typed" "$__tessera_found"
    else
        if ((place == 0)); then
            __tessera_nexts "$key"
            for word in $__tessera_found; do
                [[ $word == "$typed"* ]] && COMPREPLY+=("$word")
            done
        fi
        __tessera_values "$key:$place"
        [[ $__tessera_found == =* ]] && __tessera_found=""  # they are among the next words
        __tessera_reply "$typed" "$__tessera_found"
    fi
}

__tessera_takes_value() {
    __tessera_flags "$1"
    [[ " $__tessera_found " == *" --$2= "* ]]
}

__tessera_hook() { complete -o bashdefault -o default -F __tessera_python python python3; }

# what completes python by now, where anything does
__tessera_spec=$(complete -p python 2>/dev/null)
if [[ $__tessera_spec == *" -F "* && $__tessera_spec != *__tessera_python* ]]; then
    __tessera_other=${__tessera_spec##* -F }
    __tessera_other=${__tessera_other%% *}
fi
unset __tessera_spec
__tessera_hook
