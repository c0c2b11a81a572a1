import { watch } from './cases.mjs';

watch('libdatachannel');
