#!/bin/sh
# Installs the servers that tests start, by pinned version:
#   kafka     Apache Kafka (pom.xml beside this script), on Java 17, through Maven
#   minio     MinIO, built from its Go module: about four minutes on two cores
#   registry  Apicurio Registry, which answers as a Confluent Schema Registry, on Java 17, through Maven
# usage: setup.sh [NAME]...   (all without a name)
# They live in $TEST_SERVERS (default ~/.cache/smelt/servers). What is there already is left alone, so a second call takes
# no time. What cannot be had prints "skipped: NAME: WHY", and the others go on; the exit code is then 3.
set -u
here=$(cd "$(dirname "$0")" && pwd)
home=${TEST_SERVERS:-$HOME/.cache/smelt/servers}
minio=v0.0.0-20260212201848-7aac2a2c5b7c
registry=3.0.9 # the last line of Apicurio that runs on Java 17
code=0

skip() {
    echo "skipped: $1: $2"
    code=3
}

# install NAME WHAT TOOL... : runs `fetch_NAME FOLDER` unless the stamp says that WHAT is there; the folder appears whole.
install() {
    name=$1 what=$2
    shift 2
    [ "$(cat "$home/$name/.smelt" 2>/dev/null)" = "$what" ] && return
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { skip "$name" "no $tool on the path"; return; }
    done
    rm -rf "${home:?}/$name" "$home/$name.new"
    mkdir -p "$home/$name.new"
    if ! "fetch_$name" "$home/$name.new" >"$home/$name.log" 2>&1; then
        skip "$name" "it cannot be installed, see $home/$name.log"
        return
    fi
    echo "$what" >"$home/$name.new/.smelt"
    mv "$home/$name.new" "$home/$name"
}

java17() {
    major=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p')
    [ "${major%%.*}" -ge 17 ] || { echo "java $major is older than 17"; return 1; }
}

fetch_kafka() {
    java17 && mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
}

fetch_minio() {
    GOBIN=$1 GOFLAGS=-trimpath go install -ldflags='-s -w' "github.com/minio/minio@$minio"
}

fetch_registry() {
    java17 && mvn -q -B dependency:copy -Dartifact="io.apicurio:apicurio-registry-app:$registry:tar.gz:all" -DoutputDirectory="$1" &&
        tar -xzf "$1/apicurio-registry-app-$registry-all.tar.gz" -C "$1" &&
        rm "$1/apicurio-registry-app-$registry-all.tar.gz" &&
        mv "$1/apicurio-registry-app-$registry-runner.jar" "$1/registry.jar"
}

mkdir -p "$home"
[ $# -gt 0 ] || set -- kafka minio registry
for name in "$@"; do
    case $name in
    kafka) install kafka "$(cksum <"$here/pom.xml")" java mvn ;;
    minio) install minio "$minio" go ;;
    registry) install registry "$registry" java mvn ;;
    *)
        echo "setup.sh: $name is none of kafka, minio, registry" >&2
        exit 2
        ;;
    esac
done
exit "$code"
