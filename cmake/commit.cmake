# SPDX-License-Identifier: Apache-2.0
# Run at every build: writes the commit that is being built to OUTPUT, if it has changed.
execute_process(COMMAND git describe --always --dirty WORKING_DIRECTORY ${SOURCE}
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define NEXTSCALE_COMMIT \"${commit}\"\n")
