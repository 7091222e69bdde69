#!/bin/sh
# Sets up the Python peers and readers, each in a virtual environment of its own with pinned versions:
#   duckdb-batch  DuckDB of the batch job                     duckdb-delta  DuckDB with its Delta extension
#   polars        Polars with deltalake                       spark         PySpark with Delta and Kafka jars, on Java 17
#   kafka-python  a Kafka client with deltalake, for `benches kafka`
# usage: setup.sh [NAME]...   (without a name: those that tests read with)
# They live in $TEST_PYTHON (default ~/.cache/smelt/python). What is there already is left alone, so a second call takes
# no time. What cannot be had prints "skipped: NAME: WHY", and the others go on; the exit code is then 3.
set -u
home=${TEST_PYTHON:-$HOME/.cache/smelt/python}
delta=3.3.2
spark=3.5.9
spark_kafka=3.5.7 # the connector of that line which the registry has
code=0

skip() {
    echo "skipped: $1: $2"
    code=3
}

# environment NAME REQUIREMENT... : the stamp names what is installed, so that a changed pin installs anew.
environment() {
    name=$1
    shift
    [ "$(cat "$home/$name/.smelt" 2>/dev/null)" = "$*" ] && return 0
    rm -rf "${home:?}/$name"
    python3 -m venv "$home/$name" >"$home/$name.log" 2>&1 || { skip "$name" "python3 -m venv fails, see $home/$name.log"; return 1; }
    "$home/$name/bin/pip" install --quiet --disable-pip-version-check "$@" >"$home/$name.log" 2>&1 ||
        { skip "$name" "pip cannot install $*, see $home/$name.log"; return 1; }
    echo "$*" >"$home/$name/.smelt"
}

# jar GROUP ARTIFACT VERSION : the jar of that name, through Maven's own client.
jar() {
    [ -s "$home/jars/$2-$3.jar" ] && return 0
    mvn -q -B dependency:get -Dartifact="$1:$2:$3" -Dtransitive=false >"$home/$2.log" 2>&1 &&
        mvn -q -B dependency:copy -Dartifact="$1:$2:$3" -DoutputDirectory="$home/jars" >>"$home/$2.log" 2>&1 ||
        { skip spark "mvn cannot fetch $1:$2:$3, see $home/$2.log"; return 1; }
}

set_up() {
    case $1 in
    duckdb-batch) environment duckdb-batch duckdb==2.0.0 pytz==2026.6 ;;
    duckdb-delta) environment duckdb-delta duckdb==1.5.5 duckdb_extension_delta==1.5.5 pytz==2026.6 ;;
    polars) environment polars polars==2.1.0 deltalake==1.6.6 ;;
    spark)
        command -v java >/dev/null || { skip spark "no java on the path"; return; }
        command -v mvn >/dev/null || { skip spark "no mvn on the path"; return; }
        environment spark "pyspark==$spark" &&
            jar io.delta delta-spark_2.12 "$delta" && jar io.delta delta-storage "$delta" &&
            jar org.apache.spark spark-sql-kafka-0-10_2.12 "$spark_kafka" &&
            jar org.apache.spark spark-token-provider-kafka-0-10_2.12 "$spark_kafka" &&
            jar org.apache.kafka kafka-clients 3.4.1 && jar org.apache.commons commons-pool2 2.11.1
        ;;
    kafka-python) environment kafka-python confluent-kafka==2.16.1 deltalake==1.6.6 pyarrow==22.0.0 ;;
    *)
        echo "setup.sh: $1 is none of duckdb-batch, duckdb-delta, polars, spark, kafka-python" >&2
        exit 2
        ;;
    esac
}

mkdir -p "$home"
command -v python3 >/dev/null || { skip "all" "no python3 on the path"; exit "$code"; }
[ $# -gt 0 ] || set -- duckdb-batch duckdb-delta polars spark
for name in "$@"; do
    set_up "$name"
done
exit "$code"
