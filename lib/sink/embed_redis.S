/* SPDX-License-Identifier: MIT */
	.section .rodata
	.global lt_redis_function
	.type lt_redis_function, %object
lt_redis_function:
	.incbin "schemas/redis/latido.lua"
	.byte 0
	.size lt_redis_function, . - lt_redis_function

	.section .note.GNU-stack, "", %progbits
