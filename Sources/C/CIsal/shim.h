#pragma once
#include <isa-l/igzip_lib.h>

/* Arithmetic of macros, which Swift does not import. */
static const unsigned sluice_isal_level1_table = ISAL_DEF_LVL1_DEFAULT;
