# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of latido(1) for bash: source it, or install it as
# /usr/share/bash-completion/completions/latido.

_latido_options() {
	case $1 in
	tap) echo "--source --metric --output --json --pretty --count --wait --group --quiet --bus --config --help" ;;
	top) echo "--sort --reverse --filter --delay --batch --number --redis --config --help" ;;
	nodes) echo "--output --json --sort --reverse --redis --config --help" ;;
	topics) echo "--partitions --replication --retention-days --bus --config --help" ;;
	deadletter) echo "--all --consumer --dir --bus --config --help" ;;
	alerts) echo "--source --alert --severity --state --history --hours --since --until --number --output --json --redis --config --help" ;;
	gaps) echo "--source --open --output --json --config --help" ;;
	help) ;;
	*) echo "--config --version --help" ;;
	esac
}

_latido() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command="" words i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c | --config) ((i++)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $previous in
	-c | --config | --dir)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	-o | --output)
		case $command in
		tap) words="json pretty" ;;
		nodes) words="table json csv" ;;
		*) words="table json" ;;
		esac
		;;
	--state) words="firing pending" ;;
	-s | --sort)
		[ "$command" = tap ] && return
		words="source state cpu memory disk receive transmit load age"
		;;
	-m | --metric | -n | --count | --number | -W | --wait | -d | --delay | -f | --filter | --source | --bus | --consumer | --redis | -p | --partitions | --replication | -t | --retention-days)
		return
		;;
	*)
		if [[ $current == -* ]]; then
			words=$(_latido_options "$command")
		elif [ -z "$command" ] || [ "$command" = help ]; then
			words="tap top nodes topics deadletter spool gaps alerts"
			[ "$command" = help ] || words+=" help"
		elif [ "$command" = topics ]; then
			words="create check"
		elif [ "$command" = deadletter ]; then
			words="list show replay"
		else
			return
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _latido latido

_latido_load() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
	local sending="--sources --interval --rate --flat-out --count --duration --bus --connections --ack --resend"
	sending+=" --drain --json --prefix --seed --report --quiet --i-own-this --config --help"
	COMPREPLY=()
	case $previous in
	-c | --config | -o | --report | --output)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--ack) words="auto store broker" ;;
	-*[a-z])
		case $previous in
		--flat-out | --json | -j | --quiet | -q | --i-own-this) words=$sending ;;
		*) return ;;
		esac
		;;
	latido-load) words="simulate collect replay help --config --version --help" ;;
	*)
		case ${COMP_WORDS[1]} in
		simulate) words="--series --restart-every $sending" ;;
		replay)
			words="--split --api $sending"
			if [[ $current != -* ]]; then
				mapfile -t COMPREPLY < <(compgen -f -- "$current")
				return
			fi
			;;
		collect)
			words="--url --users --interval --timeout --source --bus --count --duration --output --quiet"
			words+=" --i-own-this --config --help"
			;;
		*) words="simulate collect replay" ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _latido_load latido-load

_latido_live() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local words="--config --add-user --add-token --add-share --expires --remove-user --check-config --print-config"
	words+=" --print-sample-config --log-level --log-format --version --help"
	case $previous in
	-c | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--add-user | --add-token | --add-share | --expires | --remove-user) return ;;
	--log-level) words="error warn info debug" ;;
	--log-format) words="logfmt json" ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _latido_live latido-live
