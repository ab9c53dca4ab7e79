import subprocess
import sys


def test_import_loads_no_optional_library():
    code = (
        "import sys, jaxcert.data; "
        "print(sorted({'tensorflow', 'tensorflow_datasets', 'sklearn', 'PIL', 'flax'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
