/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOAD_EVENTS 256

/* Each of these ends the program where something does not work. */
void load_die (const char *what) __attribute__ ((noreturn));
/* @text as a number from 1 to @most. */
long load_number (const char *text, long most);
struct sockaddr_in load_name (const char *address, const char *port);
/* A TCP socket that listens on all addresses and does not block. */
int load_listen (const char *port);
int load_epoll (void);
void load_watch (int epoll, int fd, uint32_t events, epoll_data_t data);
/* How many of the LOAD_EVENTS there is room for. */
int load_wait (int epoll, struct epoll_event *events, int milliseconds);
/* Seconds. */
double load_now (void);

/* --- transfer.c --- */
void load_send (const char *port);
void load_take (const char *address, const char *port, const char *seconds, const char *skip, const char *kind);
void load_fetch (const char *address, const char *port, const char *bytes);
void load_take_on (const char *address, const char *port) __attribute__ ((noreturn));
